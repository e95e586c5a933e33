"""A Python of a version that a framework runs on.

The rule: what is found is asked for its version, never believed by its name: pyenv's shims stand on the PATH under
names of Pythons that they do not lead to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.contract.errors import FrameworkFailed, OptionInvalid
from converters.frameworks.pins import Framework

ASK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
ASK_TIMEOUT_S = 30.0


def python_for(framework: Framework, given: Path | None = None) -> Path:
    """A Python that the framework runs on: the one that was given, else this one's own version before others.

    Raises:
        OptionInvalid: the one that was given is none, or of another version.
        FrameworkFailed: there is none on this machine.
    """
    versions = " or ".join(framework.pythons)
    if given is not None:
        found = _version(given)
        if found not in framework.pythons:
            said = f"is Python {found}" if found else "is no Python with `venv`"
            raise OptionInvalid(
                option=f"--python {given}", reason=f"it {said}; {framework.name} needs {versions}"
            )
        return given
    for candidate in _candidates(framework.pythons):
        if _version(candidate) in framework.pythons:
            return candidate
    raise FrameworkFailed(
        framework=framework.name,
        reason=f"it needs Python {versions}, and none with `venv` is on the PATH",
        way_out="install one, or name one with `--python`",
    )


def _candidates(versions: tuple[str, ...]) -> Iterator[Path]:
    yield Path(sys.executable)
    for version in versions:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _version(python: Path) -> str | None:
    """`3.12`, as it says itself; None where it is no Python that can make an environment."""
    try:
        said = subprocess.run(
            [str(python), "-I", "-c", ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=ASK_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
