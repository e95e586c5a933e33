"""How a board is brought to its end: by itself, with nothing but its own supervisor, where it was enrolled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.update.files import Files
from agent.update.folder import UpdateFolder
from agent.update.service import supervisor_pid
from edge.fleet.onboard import clear
from tests.crash.invariants import Promise
from tests.crash.recording import recorded
from tests.crash.world import INSTALL
from tests.update.world import DEVICE, ROOT, Board

END_S = 180.0
LOOK_S = 0.05
WAITING = ("inbox/request", "inbox/request.taken", "state/resume")
"""Of a board that has something to do."""


def by_itself(board: Board, promise: Promise) -> list[str]:
    """Start the supervisor, as the board's start does, and wait for an end."""
    board.supervise()
    return until_the_end(board, promise)


def flashed(board: Board, promise: Promise) -> list[str]:
    """Flash a board: enrol one that is not enrolled, push to one that serves nothing and was asked for nothing."""
    if all((board.root / name).exists() for name in ("bin/launch.py", "board.json", "state/device.pub")):
        board.supervise()
    elif broken := _enrol(board):
        return broken
    asked = any(os.path.lexists(board.root / name) for name in WAITING)
    if board.link("current") is None and not asked:
        _push(board)
    return until_the_end(board, promise)


def _enrol(board: Board) -> list[str]:
    told = board.root / "state/device.pub"
    key = told.read_text() if told.exists() else None
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.installing", str(board.root)], env=board.environment, cwd=ROOT,
        input=(board.fleet.work / INSTALL).read_bytes(), capture_output=True, timeout=END_S,
    )  # fmt: skip
    if done.returncode:
        return [f"it can't be enrolled: {done.stdout.decode()[-500:]}{done.stderr.decode()[-500:]}"]
    return [] if key in (None, told.read_text()) else ["it has another key after the second enrolment"]


def _push(board: Board) -> None:
    """What the host sends, synced as it does it; recorded with the rest."""
    environment = board.more_environment
    host = recorded(Files, Path(environment["EDGE_RECORD"]), Path(environment["EDGE_RECORD_BASE"]))
    push_set = board.fleet.repository.push_set(DEVICE)
    for folder, files in (
        ("targets", push_set.targets),
        ("blobs", push_set.blobs),
        ("metadata", push_set.metadata),
    ):
        for name, path in files.items():
            there = board.root / "inbox" / folder / name
            if not there.exists():
                host.make_folder(there.parent)
                host.replace(there, path.read_bytes())
    host.replace(board.root / "inbox/request", b"go")


def wiped(board: Board, promise: Promise) -> list[str]:
    """A board whose launcher is there serves by itself; then everything is taken off it, as `edge` does it."""
    if (board.root / "bin/launch.py").exists():
        broken = by_itself(board, promise)
        if broken:
            return broken
        done = board.run("remove", "--wipe")
        return [f"it can't be wiped: {done.stderr[-500:]}"] if done.returncode else []
    left = clear.main({"root": str(board.root)})["left"]
    return ["its folder is still there"] if left else []


def cut_off(board: Board) -> None:
    """End everything of a board at once."""
    pid = board.supervisor.pid if board.supervisor else supervisor_pid(UpdateFolder(board.root))
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    if board.supervisor:
        board.supervisor.wait(20)
        board.supervisor = None


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
    return (
        not any(os.path.lexists(board.root / name) for name in WAITING)
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
