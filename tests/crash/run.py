"""Real processes on a tree: the supervisor starts, and the board comes to an end by itself.

The rule: what runs here is what runs on a board. Each run is recorded, so that its operations can be cut again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash import recording
from tests.crash.ends import cut_off
from tests.crash.model import Tree
from tests.crash.scenarios import Scenario
from tests.crash.trees import Contents, is_volatile, make, scan
from tests.crash.world import found
from tests.update.world import Board, Fleet

NO_PROCESS = 1 << 30
"""A process number that no system gives."""


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
        _leave_stale(board)
        broken = scenario.way(board, scenario.promise)
        if log.is_dir():
            contents.take_in(log)
        left = scan(base, contents)
        if not broken:
            broken = scenario.judge(board, left, start, scenario.promise, contents)
        lines = recording.lines(log / recording.LOG)
        outside = tuple(line for line in lines if line["op"] == "outside")
        done = tuple(
            line for line in lines if line["op"] not in ("outside", "full") and not is_volatile(line["path"])
        )
        broken += [f"changed past the interface: {line}" for line in outside]
        if broken:
            broken.append("it said: " + _last_words(board))
        return Ran(done, outside, left, tuple(broken))
    finally:
        cut_off(board)
        shutil.rmtree(work)


def _leave_stale(board: Board) -> None:
    """What the processes before the cut said of themselves is still there."""
    if (board.root / "current").is_symlink():
        stale = {
            "pid": NO_PROCESS,
            "boot": "before",
            "generation": board.link("current"),
            "port": 1,
            "started": 1.0,
        }
        (board.root / "run/agent.json").write_text(json.dumps(stale | {"ready": True}))
        (board.root / "run/supervisor.json").write_text(json.dumps({"pid": NO_PROCESS, "started": 1}))


def _last_words(board: Board) -> str:
    """The end of what the board's processes said."""
    said = []
    for name in ("out.log", "update.log", "agent.log", "supervisor.log"):
        with contextlib.suppress(OSError):
            said += (board.root / "run" / name).read_text(errors="replace").splitlines()[-6:]
    return " | ".join(said)
