"""Real processes on a tree: the supervisor starts, and the board comes to an end by itself.

The rule: what runs here is what runs on a board. Each run is recorded, so that its operations can be cut again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.update.folder import UpdateFolder
from agent.update.service import supervisor_pid
from tests.crash import recording
from tests.crash.model import Tree
from tests.crash.scenarios import Scenario
from tests.crash.trees import Contents, make, scan
from tests.crash.world import found
from tests.update.world import Board, Fleet


@dataclass(frozen=True)
class Ran:
    """What came of a run: what it did, what it did past the interface, what lies there now, and what it broke."""

    log: tuple[dict[str, Any], ...]
    outside: tuple[dict[str, Any], ...]
    tree: Tree
    broken: tuple[str, ...]


def run(tree: Tree, start: Tree, scenario: Scenario, *, fleet: Fleet, contents: Contents, work: Path) -> Ran:
    """Let the board of `tree` come to its end in the new folder `work`, which is removed.

    Args:
        tree: what a cut left. start: what was there before anything was cut.
        scenario: how the board is brought to its end, and what may come of it.
        fleet: whose board it is.
        contents: bytes of all trees.
        work: a folder for this run alone.
    """
    base, log = work / "base", work / "log"
    make(tree, base, contents)
    board = found(fleet, base)
    board.more_environment = {"EDGE_RECORD": str(log), "EDGE_RECORD_BASE": str(base)}
    try:
        with contextlib.suppress(FileNotFoundError):
            (board.root / "run/supervisor.json").unlink()  # its number may be another process's by now
        broken = scenario.carry_out(board)
        if log.is_dir():
            contents.take_in(log)
        left = scan(base, contents)
        if not broken:
            broken = scenario.ended(board, left, start, contents)
        lines = recording.lines(log / recording.LOG)
        outside = tuple(line for line in lines if line["op"] == "outside")
        broken += [f"changed past the interface: {line}" for line in outside]
        if broken:
            broken.append("it said: " + _last_words(board))
        return Ran(tuple(line for line in lines if line["op"] != "outside"), outside, left, tuple(broken))
    finally:
        _kill(board)
        shutil.rmtree(work)


def _kill(board: Board) -> None:
    """End everything of a board at once."""
    pid = board.supervisor.pid if board.supervisor else supervisor_pid(UpdateFolder(board.root))
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if board.supervisor:
        board.supervisor.wait(20)


def _last_words(board: Board) -> str:
    """The end of what the board's processes said."""
    said = []
    for name in ("out.log", "update.log", "agent.log", "supervisor.log"):
        with contextlib.suppress(OSError):
            said += (board.root / "run" / name).read_text(errors="replace").splitlines()[-6:]
    return " | ".join(said)
