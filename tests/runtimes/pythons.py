"""The Python versions that this machine has, and programs run in a composed runtime by one of them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.runtimes import Composed

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"
PROBE = Path(__file__).with_name("probe.py")


@functools.cache
def interpreter(version: str) -> str:
    """The path of Python `3.12`; a skip where this machine has none."""
    name = f"python{version}"
    environments = [{}]
    if pyenv := shutil.which("pyenv"):
        listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True).stdout.split()
        environments += [{"PYENV_VERSION": found} for found in listed if found.startswith(f"{version}.")]
    for environment in environments:
        if program := shutil.which(name):
            said = subprocess.run(
                [program, "-c", "import sys; print(sys.executable)"],
                capture_output=True,
                text=True,
                env={**os.environ, **environment},
            )
            if said.returncode == 0:
                return said.stdout.strip()
    pytest.skip(f"there is no {name} here")


def unpack(composed: Composed, folder: Path) -> list[Path]:
    """The layers of a runtime, each in a folder of its own, in their order."""
    places = []
    for layer in composed.manifest.layers:
        place = folder / layer.sha256
        if not place.exists():
            with zipfile.ZipFile(composed.blobs[layer.sha256]) as archive:
                archive.extractall(place)
        places.append(place)
    return places


def probe_arguments(layers: Sequence[Path | str], program: Path | str, model: Path | str) -> list[str]:
    """Arguments for an interpreter that runs `probe.py` with the layers alone on its path."""
    paths = [str(layer) for layer in layers]
    return [
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path[:0] = {paths!r}; sys.argv = ['probe', {str(model)!r}]; "
        f"exec(open({str(program)!r}).read())",
    ]
