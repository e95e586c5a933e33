"""What is cut: each way that the update process changes a board.

A scenario makes a board that is about to do something, does it once while it is recorded, and says what must come of
it, however often it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash.ends import by_itself, cut_off, flashed, wiped
from tests.crash.invariants import Promise, nothing_there, of_an_end
from tests.crash.model import Tree
from tests.crash.rotation import rotate
from tests.crash.trees import Contents
from tests.crash.world import TERMS, bare, enrolled, small_agent
from tests.update.world import Board, Fleet, wait_until

REQUEST = "go"
Ended = Callable[[Board, Tree, Tree, Promise, Contents], list[str]]


@dataclass(frozen=True)
class Scenario:
    """One way through.

    Attributes:
        name: as it is called on the command line. sentence: what happens, for people.
        begin: makes `base/board`, which is about to do it.
        promise: what may come of it.
        way: what brings a board to its end, from the start and from whatever a cut left. What it broke.
        judge: what the end breaks.
    """

    name: str
    sentence: str
    begin: Callable[[Fleet, Path], None]
    promise: Promise
    way: Callable[[Board, Promise], list[str]] = by_itself
    judge: Ended = of_an_end


def _serving(fleet: Fleet, base: Path, *, up_to: int = 1) -> Board:
    """A board that serves generation `up_to`, after all before it, ended."""
    board = enrolled(fleet, base)
    board.supervise()
    try:
        for number in range(1, up_to + 1):
            board.flash(number, fleet.publish(f"good number {number}"), terms=TERMS)
    finally:
        board.stop()
    return board


def _ask(board: Board) -> None:
    """Push what is assigned."""
    board.fill_inbox()
    (board.root / "inbox/request").write_text(REQUEST)


def _with(behaviour: str) -> Callable[[Fleet, Path], None]:
    def begin(fleet: Fleet, base: Path) -> None:
        board = _serving(fleet, base)
        board.assign(2, fleet.publish(behaviour), terms=TERMS)
        _ask(board)

    return begin


def _back(fleet: Fleet, base: Path) -> None:
    board = _serving(fleet, base, up_to=2)
    board.assign(3, fleet.repository.release("digits@1"), terms=TERMS)
    _ask(board)


def _finalise(fleet: Fleet, base: Path) -> None:
    board = _serving(fleet, base, up_to=2)
    board.assign(3, fleet.publish("good three"), terms=TERMS, finalise=2)
    _ask(board)


def _runtime(fleet: Fleet, base: Path) -> None:
    board = _serving(fleet, base)
    layer = fleet.blobs.add_layer("edge-agent", "0.1.1", small_agent({"agent/newer.py": "VERSION = 2\n"}))
    runtime, data = fleet.blobs.runtime(layer, fleet.packages, agent_version="0.1.1")
    layers = {one.sha256: fleet.blobs.folder / "blobs" / one.sha256 for one in (layer, fleet.packages)}
    fleet.repository.add_runtime(data, layers)
    board.assign(2, fleet.publish("good two"), terms=TERMS, runtime=runtime)
    _ask(board)


def _superseded(fleet: Fleet, base: Path) -> None:
    board = _serving(fleet, base)
    board.supervise()
    try:
        board.assign(2, fleet.publish("good two"), terms=replace(TERMS, probation_s=60))
        board.push("the first")
        wait_until(lambda: board.served().get("generation") == 2, "generation 2 is tried")
    finally:
        cut_off(board)
    board.assign(3, fleet.publish("good three"), terms=TERMS)
    _ask(board)


def _damaged(fleet: Fleet, base: Path) -> None:
    _with("good two")(fleet, base)
    record = base / "board/state/update.json"
    data = record.read_bytes()
    record.unlink()
    record.write_bytes(data[: len(data) // 2])


def _rotation(fleet: Fleet, base: Path) -> None:
    _with("good two")(fleet, base)
    rotate(base / "board/inbox/metadata", fleet)


def _first(fleet: Fleet, base: Path) -> None:
    board = bare(fleet, base)
    board.assign(1, fleet.publish("good one"), terms=TERMS)
    board.fill_inbox()


def _wipe(fleet: Fleet, base: Path) -> None:
    _serving(fleet, base)


_TO_2 = Promise(kept=(1,), serves=(1, 2), ends=frozenset({("confirmed", 2)}))
_TO_3 = Promise(kept=(2,), serves=(2, 3), ends=frozenset({("confirmed", 3)}))

UPDATE = Scenario("update", "generation 2 takes the place of 1, and is confirmed", _with("good two"), _TO_2)
ROLLBACK = Scenario(
    "rollback",
    "generation 2 fails its probation, and 1 comes back",
    _with("answers-wrongly"),
    Promise(
        kept=(1,),
        serves=(1, 2),
        ends=frozenset({("rolled-back", 1)}),
        codes=frozenset({"trial.probation-failed"}),
    ),
)
REFUSAL = Scenario(
    "refusal",
    "generation 2 fails its check, and never serves",
    _with("disagrees"),
    Promise(
        kept=(1,), serves=(1,), ends=frozenset({("refused", 1)}), codes=frozenset({"trial.golden-disagrees"})
    ),
)
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        UPDATE,
        ROLLBACK,
        REFUSAL,
        Scenario("back", "from generation 2 back to what 1 was, as generation 3", _back, _TO_3),
        Scenario("runtime", "generation 2 brings another agent", _runtime, _TO_2),
        Scenario("finalise", "generation 1 is let go, and 3 takes the place of 2", _finalise, _TO_3),
        Scenario(
            "superseded",
            "cut in the probation of generation 2, and 3 is asked for",
            _superseded,
            Promise(kept=(1,), serves=(1, 3), ends=frozenset({("confirmed", 3)})),
        ),
        Scenario("damaged", "the record can't be read, and generation 2 is asked for", _damaged, _TO_2),
        Scenario(
            "rotation", "a second root, new keys of targets and desired, generation 2", _rotation, _TO_2
        ),
        Scenario(
            "first-flash",
            "a bare board: the runtime is placed, it is enrolled, and generation 1 is confirmed",
            _first,
            Promise(kept=(), serves=(1,), ends=frozenset({("confirmed", 1)})),
            way=flashed,
        ),
        Scenario(
            "wipe",
            "everything of edge is removed; after a cut the board serves, and is wiped again",
            _wipe,
            Promise(kept=(), serves=(1,), ends=frozenset()),
            way=wiped,
            judge=nothing_there,
        ),
    )
}
