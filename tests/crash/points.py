"""From a log to the points at which the board can be cut, each tree once.

The rule: every operation times every variant; points whose trees no program could tell apart are run once, and how
many each stands for is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.crash.model import Cut, Disk, Tree
from tests.crash.trees import Contents, canonical

Operation = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A cut after the first `number` operations of a log.

    Attributes:
        before: name of the point whose run this cuts, empty for the first.
        tree: what it leaves. same: a digest that equal trees share.
        log: what was being done, from the tree `start` on.
    """

    number: int
    cut: Cut
    before: str
    tree: Tree
    same: str
    log: Sequence[Operation]
    start: Tree

    @property
    def name(self) -> str:
        """`17:torn`, or `17:torn/5:clean` for a second cut."""
        return f"{self.before}{'/' if self.before else ''}{self.number}:{self.cut.value}"

    @property
    def last(self) -> tuple[str, ...]:
        """The last operations before it, in words."""
        return tuple(told(operation) for operation in self.log[max(0, self.number - 5) : self.number])

    @property
    def unsynced(self) -> tuple[str, ...]:
        """What the medium did not hold then, in words."""
        disk = Disk(self.start)
        for operation in self.log[: self.number]:
            disk.do(operation)
        return tuple(disk.unsynced())


def points_of(start: Tree, log: Sequence[Operation], contents: Contents, *, after: str = "") -> list[Point]:
    """Every point of a log: (operations + 1) × variants. `after`: the point whose run wrote the log."""
    disk = Disk(start)
    found = []
    for number in range(len(log) + 1):
        if number:
            disk.do(log[number - 1])
        for cut in Cut:
            tree = disk.after(cut)
            same = canonical(tree, contents, again=bool(after))
            found.append(Point(number, cut, after, tree, same, log, start))
    return found


def distinct(points: Sequence[Point], seen: set[str]) -> list[Point]:
    """The first of each group of equal points, without those that were seen; `seen` grows."""
    new = []
    for point in points:
        if point.same not in seen:
            seen.add(point.same)
            new.append(point)
    return new


def told(operation: Operation) -> str:
    """An operation in words."""
    return " ".join(str(operation[key]) for key in ("op", "path", "to", "target") if key in operation)
