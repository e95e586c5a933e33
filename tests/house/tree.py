"""The repository as the house tests see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "converters", "edge")


def tracked_files() -> list[Path]:
    """Every file that git tracks or would track, that still exists."""
    return sorted({path for path in _tracked() if path.is_file() and not path.is_symlink()})


def tracked_links() -> list[Path]:
    """The symbolic links among what git tracks or would track."""
    return sorted({path for path in _tracked() if path.is_symlink()})


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def python_files(*folders: str) -> list[Path]:
    """The Python files among them, in the folders named."""
    return [
        file
        for file in tracked_files()
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in folders
    ]


def shown(file: Path) -> str:
    """The path as a person names it."""
    return file.relative_to(ROOT).as_posix()
