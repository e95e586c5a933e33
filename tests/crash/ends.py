"""How a board is brought to its end: by itself, with nothing but its own supervisor."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.update.folder import UpdateFolder
from agent.update.service import supervisor_pid
from tests.crash.invariants import Promise
from tests.update.world import Board

END_S = 90.0
LOOK_S = 0.05


def by_itself(board: Board, promise: Promise) -> list[str]:
    """Start the supervisor, as the board's start does, and wait for an end."""
    board.supervise()
    return until_the_end(board, promise)


def until_the_end(board: Board, promise: Promise) -> list[str]:
    """Wait until nothing is left to do. What was broken meanwhile."""
    end = time.monotonic() + END_S
    while True:
        served = board.served().get("generation")
        if served and served not in promise.serves:
            return [f"it served generation {served}"]
        if is_quiet(board) and (served or None) == board.link("current"):
            return []
        if time.monotonic() > end:
            return [f"no end within {END_S:g} s: serves {served}, `current` {board.link('current')}"]
        time.sleep(LOOK_S)


def is_quiet(board: Board) -> bool:
    """Whether nothing waits and no update process is at work."""
    waiting = ("inbox/request", "inbox/request.taken", "state/resume")
    return (
        not any(os.path.lexists(board.root / name) for name in waiting)
        and (board.root / "state/reported.json").exists()
        and not at_work(board)
        and not board.report.in_progress
    )


def at_work(board: Board) -> bool:
    """Whether the supervisor has an update process, or is not there yet."""
    pid = supervisor_pid(UpdateFolder(board.root))
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    except OSError:
        return True
    return any(command.rstrip(b"\0").endswith((b"apply", b"recover")) for command in commands)
