"""An environment for each peer, made once, in edge's cache.

The rule: a peer runs with the packages that it asks for itself; ours are not among them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from edge.config import cache_dir


def environment(name: str, packages: tuple[str, ...]) -> Path:
    """The folder of programs of an environment that holds `packages`; it is made where it is not there."""
    key = hashlib.sha256(" ".join((sys.version, *packages)).encode()).hexdigest()[:12]
    folder = cache_dir() / "peers" / f"{name}-{key}"
    programs = folder / "bin"
    if not (folder / "made").is_file():
        print(f"installing {name}: {', '.join(packages)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (folder / "made").touch()
    return programs


def version(programs: Path, package: str) -> str:
    """Of an installed package."""
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([str(programs / "python"), "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.strip()
