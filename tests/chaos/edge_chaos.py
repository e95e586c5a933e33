"""`edge chaos` as a process of its own, in a folder where what it leaves behind is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house.tree import ROOT

PACKAGES = ("agent", "converters", "device_profiles", "edge")


@dataclass(frozen=True)
class Patch:
    """A fault that is planted: in `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str


def copy_of_the_code(folder: Path, patches: tuple[Patch, ...]) -> Path:
    """All packages once more, with faults. Each patch must fit exactly once: code that moved on takes it along."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in patches:
        path = folder / patch.file
        text = path.read_text()
        assert text.count(patch.old) == 1, f"the patch of {patch.file} fits {text.count(patch.old)} times"
        path.write_text(text.replace(patch.old, patch.new))
    return folder


def start(*arguments: str, temporary: Path, code: Path | None = None) -> subprocess.Popen[str]:
    """Begin; `temporary` is where it makes its folder, `code` where its packages come from."""
    environment = {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1"}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    return subprocess.Popen(
        [sys.executable, "-m", "edge", "chaos", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=temporary,
    )


def chaos(*arguments: str, temporary: Path, code: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Run it to its end; exit code and result. Nothing may be left."""
    process = start(*arguments, "--json", temporary=temporary, code=code)
    out, talk = process.communicate(timeout=600)
    print(talk)
    assert left_behind(temporary) == []
    return process.returncode, json.loads(out)


def left_behind(temporary: Path) -> list[str]:
    """Files of a run, and processes that were started in it."""
    deadline = time.monotonic() + 5
    while (found := _processes(temporary)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found + [str(path) for path in temporary.glob("edge-*")]


def _processes(temporary: Path) -> list[str]:
    listed = subprocess.run(
        ["ps", "-Aww", "-o", "stat=,command="], capture_output=True, text=True, check=True
    )
    return [
        line for line in listed.stdout.splitlines() if f"{temporary}/edge-chaos-" in line and line[0] != "Z"
    ]
