"""What is cut: each way that the update process changes a board.

A scenario makes a board that is about to do something, does it once while it is recorded, and says what must come of
it, however often it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.ends import by_itself
from tests.crash.invariants import Promise, of_an_end
from tests.crash.model import Tree
from tests.crash.trees import Contents
from tests.crash.world import TERMS, enrolled
from tests.update.world import Board, Fleet

REQUEST = "go"


@dataclass(frozen=True)
class Scenario:
    """One way through.

    Attributes:
        name: as it is called on the command line. sentence: what happens, for people.
        begin: makes `base/board`, which is about to do it.
        promise: what may come of it. way: what a person, or the board by itself, does to get there.
    """

    name: str
    sentence: str
    begin: Callable[[Fleet, Path], None]
    promise: Promise
    way: Callable[[Board, Promise], list[str]] = by_itself

    def carry_out(self, board: Board) -> list[str]:
        """Let it happen, or what is left of it after a cut. What was broken meanwhile."""
        return self.way(board, self.promise)

    def ended(self, board: Board, tree: Tree, start: Tree, contents: Contents) -> list[str]:
        """What the end of it breaks."""
        return of_an_end(board, tree, start, self.promise, contents=contents)


def serving(fleet: Fleet, base: Path, behaviour: str = "good one") -> Board:
    """A board that serves generation 1, ended."""
    board = enrolled(fleet, base)
    board.supervise()
    try:
        board.flash(1, fleet.publish(behaviour), terms=TERMS)
    finally:
        board.stop()
    return board


def _update(fleet: Fleet, base: Path) -> None:
    board = serving(fleet, base)
    board.assign(2, fleet.publish("good two"), terms=TERMS)
    ask(board)


def ask(board: Board) -> None:
    """Push what is assigned."""
    board.fill_inbox()
    (board.root / "inbox/request").write_text(REQUEST)


UPDATE = Scenario(
    "update",
    "generation 2 takes the place of 1, and is confirmed",
    _update,
    Promise(kept=(1,), serves=(1, 2), ends=frozenset({("confirmed", 2)})),
)

SCENARIOS = {scenario.name: scenario for scenario in (UPDATE,)}
