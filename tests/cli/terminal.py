"""A program at a real terminal: its size, what is typed, what is on the screen's way."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path


def at_terminal(
    argv: Sequence[str],
    *,
    columns: int = 80,
    typed: Sequence[tuple[str, str]] = (),
    cwd: Path,
    **environment: str,
) -> tuple[int, str]:
    """Run a program with a terminal as its three streams; its exit code and all that it wrote.

    Args:
        argv: the program.
        columns: the terminal's width.
        typed: what to wait for, and what to type then.
        cwd: where it runs.
        environment: more variables.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGE_", "NO_COLOR"))}
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
        env={**kept, "TERM": "xterm", **environment}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said, todo, deadline = "", list(typed), time.monotonic() + 60
    while time.monotonic() < deadline:
        if todo and todo[0][0] in said:
            os.write(ours, todo.pop(0)[1].encode())
        if not select.select([ours], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        said += data.decode(errors="replace")
    else:
        process.kill()
    os.close(ours)
    return process.wait(timeout=10), said
