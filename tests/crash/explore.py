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
    """A promise that was broken, with all that repeats it.

    Attributes:
        point: as the command line calls it. last: the operations before it. unsynced: what the medium did not hold.
        broken: what was broken.
    """

    scenario: str
    point: str
    last: tuple[str, ...]
    unsynced: tuple[str, ...]
    broken: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"VIOLATION {self.scenario} {self.point}"]
        lines += [f"  after:     {line}" for line in self.last]
        lines += [f"  un-synced: {line}" for line in self.unsynced[:12]]
        lines += [f"  broken:    {line}" for line in self.broken[:8]]
        lines.append(f"  again:     python -m tests.crash {self.scenario} --point {self.point}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Explored:
    """A scenario's counts.

    Attributes:
        operations: of the recorded run. cuts: operations + 1, times variants.
        run: distinct trees that these leave; each was run. again: cuts of those runs, and run_again: distinct trees
            that these leave and that were not run before; each was run.
    """

    scenario: str
    operations: int
    cuts: int
    run: int
    again: int
    run_again: int
    violations: tuple[Violation, ...]

    @property
    def line(self) -> str:
        """All of it in one line."""
        second = f"; {self.again} second cuts, {self.run_again} more trees run" if self.again else ""
        return (
            f"{self.scenario}: {self.operations} operations, {self.cuts} cuts, {self.run} distinct trees run{second}; "
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


def cut(recorded: Recorded, point: Point) -> tuple[Violation | None, Ran]:
    """Let the board of a point come to its end. What that broke, or None; and what it did."""
    scenario, start, contents = recorded.scenario, recorded.start, recorded.contents
    broken = of_a_cut(point.tree, start, scenario.promise, fleet=recorded.fleet, contents=contents)
    folder = recorded.work / f"point-{point.name.replace(':', '-')}"
    ran = run(point.tree, start, scenario, fleet=recorded.fleet, contents=contents, work=folder)
    broken += ran.broken
    if not broken:
        return None, ran
    return Violation(scenario.name, point.name, point.last, point.unsynced, tuple(broken)), ran


def explore(
    scenario: Scenario,
    *,
    fleet: Fleet,
    work: Path,
    pool: Executor,
    only: str | None = None,
    twice: bool = True,
) -> Explored:
    """Carry a scenario out once; let the board come to its end from every tree that a cut may leave of it, and from
    every tree that a second cut may leave of each of those runs."""
    recorded = record(scenario, fleet=fleet, work=work)
    if only is not None:
        return _one(recorded, only)
    print(f"{scenario.name}: {scenario.sentence}", flush=True)
    first = recorded.distinct()
    ran, violations = _run_all(recorded, first, pool, "once")
    seen = {canonical(point.tree, recorded.contents, again=True) for point in first}
    second: list[Point] = []
    again = 0
    for point, one in zip(first, ran, strict=True) if twice else ():
        points = points_of(point.tree, one.log, recorded.contents, after=point.name)
        again += len(points)
        second += distinct(points, seen)
    _, more = _run_all(recorded, second, pool, "twice")
    return Explored(
        scenario.name, len(recorded.log), len(recorded.points), len(first), again, len(second),
        (*violations, *more),
    )  # fmt: skip


def _one(recorded: Recorded, only: str) -> Explored:
    """One point: `17:torn`, or `17:torn/5:clean` where the run after the first cut was cut again."""
    first, _, second = only.partition("/")
    point = next(point for point in recorded.points if point.name == first)
    violation, ran = cut(recorded, point)
    if second and violation is None:
        points = points_of(point.tree, ran.log, recorded.contents, after=first)
        violation, _ = cut(recorded, next(point for point in points if point.name == only))
    if violation is not None:
        print(violation, flush=True)
    return Explored(
        recorded.scenario.name,
        len(recorded.log),
        len(recorded.points),
        1,
        0,
        0,
        tuple(filter(None, [violation])),
    )


def _run_all(
    recorded: Recorded, points: Sequence[Point], pool: Executor, times: str
) -> tuple[list[Ran], list[Violation]]:
    found, violations = [], []
    for number, (violation, ran) in enumerate(pool.map(lambda point: cut(recorded, point), points), 1):
        found.append(ran)
        if violation is not None:
            violations.append(violation)
            print(violation, flush=True)
        if number % 20 == 0 or number == len(points):
            name = recorded.scenario.name
            print(f"{name}: cut {times}: {number} of {len(points)}, {len(violations)} violations", flush=True)
    return found, violations


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
