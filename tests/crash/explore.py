"""One scenario: recorded once, cut everywhere, each distinct tree run on real processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from tests.crash.invariants import of_a_cut
from tests.crash.model import Cut, Disk, Tree
from tests.crash.points import Operation, Point, distinct, points_of
from tests.crash.run import Ran, run
from tests.crash.scenarios import Scenario
from tests.crash.trees import Contents, canonical, scan
from tests.update.world import Fleet, copied_fleet


@dataclass(frozen=True)
class Recorded:
    """A scenario that was carried out once, uncut.

    Attributes:
        start: what was there before. whole: what came of it. points: every operation times every variant.
    """

    scenario: Scenario
    fleet: Fleet
    work: Path
    contents: Contents
    start: Tree
    whole: Ran
    points: tuple[Point, ...]

    @property
    def log(self) -> Sequence[Operation]:
        return self.whole.log

    def distinct(self) -> list[Point]:
        """The points, equal trees once."""
        return distinct(self.points, set())


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, with all that repeats it."""

    scenario: str
    point: Point
    broken: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"VIOLATION {self.scenario} {self.point.name}"]
        lines += [f"  after:     {line}" for line in self.point.last]
        lines += [f"  un-synced: {line}" for line in self.point.unsynced[:12]]
        lines += [f"  broken:    {line}" for line in self.broken[:8]]
        lines.append(f"  again:     python -m tests.crash {self.scenario} --point {self.point.name}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Explored:
    """A scenario's counts: operations, points (operations + 1, times variants), and distinct trees that were run."""

    scenario: str
    operations: int
    points: int
    run: int
    violations: tuple[Violation, ...]

    @property
    def line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.scenario}: {self.operations} operations, {self.points} cuts, {self.run} distinct trees run, "
            f"{len(self.violations)} violations"
        )


def record(scenario: Scenario, *, fleet: Fleet, work: Path) -> Recorded:
    """Carry a scenario out, uncut."""
    contents = Contents(work / "contents")
    own = copied_fleet(fleet, work)
    scenario.begin(own, work / "start")
    start = scan(work / "start", contents)
    whole = run(start, start, scenario, fleet=own, contents=contents, work=work / "whole")
    _check_recording(scenario, whole, start, contents)
    points = tuple(points_of(start, whole.log, contents))
    return Recorded(scenario, own, work, contents, start, whole, points)


def cut(recorded: Recorded, point: Point) -> Violation | None:
    """Let the board of a point come to its end. What that broke, or None."""
    scenario, start, contents = recorded.scenario, recorded.start, recorded.contents
    broken = of_a_cut(point.tree, start, scenario.promise, fleet=recorded.fleet, contents=contents)
    folder = recorded.work / f"point-{point.number}-{point.cut.value}"
    ran = run(point.tree, start, scenario, fleet=recorded.fleet, contents=contents, work=folder)
    broken += ran.broken
    return Violation(scenario.name, point, tuple(broken)) if broken else None


def explore(
    scenario: Scenario, *, fleet: Fleet, work: Path, pool: Executor, only: str | None = None
) -> Explored:
    """Carry a scenario out once, and then let the board come to its end from every tree that a cut may leave of it."""
    recorded = record(scenario, fleet=fleet, work=work)
    chosen = [point for point in recorded.points if point.name == only] if only else recorded.distinct()
    print(f"{scenario.name}: {scenario.sentence}: {len(chosen)} distinct trees", flush=True)
    violations = []
    for number, violation in enumerate(pool.map(lambda point: cut(recorded, point), chosen), 1):
        if violation is not None:
            violations.append(violation)
            print(violation, flush=True)
        if number % 20 == 0:
            print(f"{scenario.name}: {number} of {len(chosen)}, {len(violations)} violations", flush=True)
    return Explored(scenario.name, len(recorded.log), len(recorded.points), len(chosen), tuple(violations))


def _check_recording(scenario: Scenario, whole: Ran, start: Tree, contents: Contents) -> None:
    """See that the log is all that happened: replayed, it gives what lies on the disk."""
    if whole.broken:
        raise AssertionError(f"{scenario.name} does not come to its end uncut: {whole.broken}")
    disk = Disk(start)
    for operation in whole.log:
        disk.do(operation)
    replayed = disk.after(Cut.CLEAN)
    if canonical(replayed, contents) != canonical(whole.tree, contents):
        names = sorted(
            path for path in {*replayed, *whole.tree} if replayed.get(path) != whole.tree.get(path)
        )
        raise AssertionError(f"{scenario.name}: the log is not all that happened: {names}")
