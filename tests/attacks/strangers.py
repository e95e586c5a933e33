"""Other users of a board: programs that run as somebody who is neither root nor us."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOBODY, AGENT, PUSHER = 65534, 65533, 65532
"""A user of the board; stand-ins for whom the agent runs as, and for who pushes."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="edge-attack-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def start(script: str, *arguments: object, user: int) -> subprocess.Popen[str]:
    """Run a Python script as `user`, in whatever groups that user alone is."""
    return subprocess.Popen(
        [_python(), "-I", "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        user=user, group=user, extra_groups=[], cwd="/", text=True,
    )  # fmt: skip


def ask(script: str, *arguments: object, user: int) -> Any:
    """What a script of `user` prints as JSON."""
    with start(script, *arguments, user=user) as process:
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return json.loads(said)


@contextlib.contextmanager
def meanwhile(script: str, *arguments: object, user: int) -> Iterator[subprocess.Popen[str]]:
    """A script of `user` that goes on until the context ends. It prints a line when it has begun."""
    process = start(script, *arguments, user=user)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the attack did not begin"
        yield process
        assert process.poll() is None, "the attack ended by itself"
    finally:
        process.kill()
        process.communicate()


def _python() -> str:
    """An interpreter that other users may run: this one often lies in somebody's home folder."""
    return next(
        path for path in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable) if Path(path).exists()
    )
