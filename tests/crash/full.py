"""A disk that is full: at each operation of an update that takes room, once and until there is room again.

The rule: the process goes on and says so; the old generation serves on; when there is room again, the update is
carried to its end without a person.
"""

from __future__ import annotations

import enum
import time
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from agent.contract.errors import BoardDiskFull
from tests.crash.ends import END_S, LOOK_S, at_work, until_the_end
from tests.crash.explore import Explored, Recorded, Violation, record
from tests.crash.invariants import Promise
from tests.crash.points import told
from tests.crash.recording import LOG, ROOM, TAKES_ROOM, lines
from tests.crash.run import run
from tests.crash.scenarios import REQUEST, UPDATE
from tests.update.world import Board, Fleet

NAME = "full"


class Full(enum.Enum):
    """For how long there is no room."""

    ONCE = "once"
    STAYS = "stays"


def explore_full(*, fleet: Fleet, work: Path, pool: Executor, only: str | None = None) -> Explored:
    """Record an update, and let the disk be full at each of its operations that takes room."""
    recorded = record(UPDATE, fleet=fleet, work=work)
    numbers = [number for number, line in enumerate(recorded.log) if line["op"] in TAKES_ROOM]
    wanted = [(number, full) for number in numbers for full in Full]
    chosen = [pair for pair in wanted if only in (None, f"{pair[0]}:{pair[1].value}")]
    print(f"{NAME}: an update without room at one of its operations: {len(chosen)} runs", flush=True)
    violations = []
    for done, violation in enumerate(pool.map(lambda pair: without_room(recorded, *pair), chosen), 1):
        if violation is not None:
            violations.append(violation)
            print(violation, flush=True)
        if done % 20 == 0:
            print(f"{NAME}: {done} of {len(chosen)}, {len(violations)} violations", flush=True)
    return Explored(NAME, len(recorded.log), len(wanted), len(chosen), 0, 0, tuple(violations))


def without_room(recorded: Recorded, number: int, full: Full) -> Violation | None:
    """Let the disk be full at one operation of an update. What that broke, or None."""

    def way(board: Board, promise: Promise) -> list[str]:
        return _way(board, promise, number, full)

    scenario = replace(UPDATE, way=way)
    folder = recorded.work / f"full-{number}-{full.value}"
    ran = run(
        recorded.start,
        recorded.start,
        scenario,
        fleet=recorded.fleet,
        contents=recorded.contents,
        work=folder,
    )
    if not ran.broken:
        return None
    last = tuple(told(operation) for operation in recorded.log[max(0, number - 4) : number + 1])
    return Violation(NAME, f"{number}:{full.value}", last, (), ran.broken)


def _way(board: Board, promise: Promise, number: int, full: Full) -> list[str]:
    board.more_environment |= {
        "EDGE_RECORD_FULL": str(number),
        "EDGE_RECORD_ONCE": str(int(full is Full.ONCE)),
    }
    board.supervise()
    log = Path(board.more_environment["EDGE_RECORD"])
    if full is Full.STAYS:
        broken = _until_it_gives_up(board, log, promise)
        (log / ROOM).touch()
        if broken:
            return broken
    broken = until_the_end(board, promise)
    if broken or board.report.state.value == "confirmed":
        return broken
    if board.report.code != BoardDiskFull.code:
        return [f"it says {board.report.code}: {board.report.message}"]
    board.fill_inbox()  # what was sent and taken is sent again, as a person's next flash does it
    (board.root / "inbox/request").write_text(REQUEST)
    return until_the_end(board, promise)


def _until_it_gives_up(board: Board, log: Path, promise: Promise) -> list[str]:
    """Wait until an update process has met the full disk and has ended; what serves then, and what was said."""
    end = time.monotonic() + END_S
    while not (_met(log) and not at_work(board) and board.served()):
        if time.monotonic() > end:
            return [f"no update process ended on the full disk; it serves {board.served().get('generation')}"]
        time.sleep(LOOK_S)
    said = (board.root / "run/update.log").read_text()
    served = board.served().get("generation")
    broken = [] if served in promise.serves else [f"on the full disk it served {served}"]
    if "Traceback" in said:
        broken.append(f"it ended with a traceback: {said[-600:]}")
    if "no room for" not in said:
        broken.append(f"it did not say that the disk is full: {said[-300:]}")
    return broken


def _met(log: Path) -> bool:
    return any(line["op"] == "full" for line in lines(log / LOG))
