"""Real runtimes of every age, each in a virtual environment that is gone afterwards.

The rule: one at a time (70 to 300 MB each), of the first release of each minor version that starts at all, so that
"from 1.18.0" was measured with 1.18.0. Interpreters are looked for by name, pyenv's too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.profile import version_key

PACKAGES = {"tflite-runtime": "tflite-runtime", "litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}
VERSIONS = {
    "tflite-runtime": ("2.11.0", "2.12.0", "2.13.0", "2.14.0"),
    "litert": ("1.0.0", "1.1.1", "1.2.0", "1.3.0", "1.4.0", "2.0.2", "2.1.0", "2.2.0", "2.3.0"),
    "onnxruntime": (
        "1.16.0", "1.17.0", "1.18.0", "1.19.0", "1.20.0", "1.21.0", "1.22.0", "1.23.0", "1.24.1", "1.25.0",
        "1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0", "1.31.0", "1.32.0",
    ),
}  # fmt: skip
"""Oldest first; the last is what the others are compared with."""
FIRST_FOR_NUMPY_2 = {"tflite-runtime": None, "litert": "1.4.0", "onnxruntime": "1.19.0"}
"""Those before were built against NumPy 1 and fail on every model with NumPy 2."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A runtime that can be started.

    Attributes:
        engine, version: what it is.
        python: its interpreter.
    """

    engine: str
    version: str
    python: Path


@contextlib.contextmanager
def environment(engine: str, version: str) -> Iterator[Environment]:
    """Make the environment of a runtime; it is removed at the end."""
    program = interpreter("3.9" if engine == "tflite-runtime" else "3.11")
    first = FIRST_FOR_NUMPY_2[engine]
    old = first is None or version_key(version) < version_key(first)
    wanted = [f"{PACKAGES[engine]}=={version}", "numpy<2" if old else "numpy"]
    if engine == "onnxruntime":
        wanted.append("--no-deps")  # the rest of what it asks for is of its tools, which nothing here uses
    with tempfile.TemporaryDirectory(prefix=f"edge-{engine}-{version}-") as folder:
        subprocess.run([program, "-m", "venv", "--without-pip", folder], check=True)
        python = Path(folder, "bin", "python")
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-cache-dir",
             "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--no-compile", *wanted],
            check=True,
        )  # fmt: skip
        yield Environment(engine=engine, version=version, python=python)


def interpreter(version: str) -> str:
    """The path of Python `3.9`."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return getattr(sys, "_base_executable", sys.executable)
    choices: list[dict[str, str]] = [{}]
    if pyenv := shutil.which("pyenv"):
        listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False)
        choices += [
            {"PYENV_VERSION": name} for name in listed.stdout.split() if name.startswith(f"{version}.")
        ]
    for choice in choices:
        if program := shutil.which(f"python{version}"):
            said = subprocess.run(
                [program, "-c", "import sys; print(sys.executable)"],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **choice},
            )
            if said.returncode == 0:
                return said.stdout.strip()
    raise SystemExit(f"there is no python{version} here, which the old runtimes need")
