"""How much slower boards with a release compute than others, with the uncertainty of that.

The rule: where boards have a `before`, each is compared with itself first, so that what it differs from others for good
cancels, and so does what all of them went through together. Sources:

* a board: the interquartile mean of the logarithms, with the winsorized variance of Tukey and McLaughlin, Sankhya A 25,
  1963: a long tail of slow runs moves neither. Each bucket of a sketch counts as its middle; where half of the runs
  lies in a bucket or two, what that may be off (2 %, `agent.contract.sketch`) is part of the error.
* several boards: the mean of those with the release, so that a few on which it is slow are not outvoted, against the
  median of their peers, which one odd peer does not move. How far boards are apart is the median absolute deviation
  with the correction for few values of Croux and Rousseeuw, "Time-efficient algorithms for two highly robust
  estimators of scale", COMPSTAT 1992, and never less than a `SPREAD_…` below, since two or three boards can't show it.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from agent.contract.sketch import GAMMA, Sketch, merge
from edge.rollouts.evidence import BoardEvidence, before, releases, with_another, with_release
from edge.telemetry.records import ModelWindow

LEAST_RUNS = 10
"""Fewer runs of one board are no measurement."""
SPREAD_OF_CHANGES = 0.02
"""How far the compute times of equal boards change apart from one span to the next, as a logarithm. Measured:
four processes under load on a two-core machine, spans of 10 s: 1 to 2 % beside the error of counting."""
SPREAD_OF_BOARDS = 0.08
"""How much boards of one profile differ for good: silicon, cooling, what else runs there."""
SPREAD_OF_TIMES = 0.15
"""How much the compute time of a board changes from span to span where no peer shows it. Measured as above: 10 %."""
_BUCKET = math.log(GAMMA)
_LARGEST = 2**53
"""Of more runs, so many are counted."""


class Basis(enum.Enum):
    """What boards with the release are compared with."""

    PEERS_AND_BEFORE = "peers-and-before"
    PEERS = "peers"
    BEFORE = "before"


@dataclass(frozen=True, kw_only=True)
class Slowdown:
    """How compute times compare.

    Attributes:
        log_ratio: logarithm of the ratio. counting: its standard error that more runs make smaller.
        spread: its standard error by the difference between boards or times, which only more boards make smaller.
        release_ms, reference_ms: CPU a run, of all boards. references: releases compared with.
        runs, boards: with the release.
    """

    basis: Basis
    log_ratio: float
    counting: float
    spread: float
    release_ms: float
    reference_ms: float
    references: tuple[str, ...]
    runs: int
    boards: int

    @property
    def error(self) -> float:
        """Standard error of `log_ratio`."""
        return math.hypot(self.counting, self.spread)


@dataclass(frozen=True)
class Estimate:
    """A logarithm of milliseconds, with the variance that counting leaves."""

    value: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class _Board:
    """A board's compute time now, before where that is known, and the difference. `references`: the releases of the
    model that a comparison with it is one with."""

    now: Estimate
    before: Estimate | None
    runs: int
    references: frozenset[str]

    @property
    def change(self) -> Estimate:
        assert self.before is not None
        return Estimate(self.now.value - self.before.value, self.now.variance + self.before.variance)


def location(sketch: Sketch) -> Estimate | None:
    """The interquartile mean of the logarithms, or None for fewer than `LEAST_RUNS` runs."""
    runs = sketch.count
    if runs < LEAST_RUNS:
        return None
    ordered = sorted([(int(number), count) for number, count in sketch.counts.items()])
    seen = 0.0
    inside: list[tuple[float, float]] = []
    for number, count in ordered:
        begin, seen = seen, seen + count / runs
        if seen > 0.25:
            inside.append(((number - 0.5) * _BUCKET, min(seen, 0.75) - max(begin, 0.25)))
        if seen >= 0.75:
            break
    (lower, _), (upper, _) = inside[0], inside[-1]
    mean = sum(value * part for value, part in inside) + 0.25 * (lower + upper)
    squares = sum(part * (value - mean) ** 2 for value, part in inside)
    variance = squares + 0.25 * ((lower - mean) ** 2 + (upper - mean) ** 2)
    rounding = _BUCKET**2 / 12 if upper - lower < 1.5 * _BUCKET else 0.0
    middle = sum(value * part for value, part in inside) / sum(part for _, part in inside)
    return Estimate(middle, variance / (0.25 * min(runs, _LARGEST)) + rounding)


def slowdown(release: str, wave: Sequence[BoardEvidence], peers: Sequence[BoardEvidence]) -> Slowdown | None:
    """How the compute time of `release` on boards of the wave compares; None where nothing can be compared.

    Boards are of one kind. With a `before` on half of the wave or more and on a peer, each is compared with itself
    first, and those without are left out.
    """
    there = [board for one in peers if (board := _of_peer(one, release))]
    elsewhere = frozenset[str]().union(*(board.references for board in there))
    here = [board for one in wave if (board := _of_wave(one, release, elsewhere))]
    here_before = [board for board in here if board.before]
    there_before = [board for board in there if board.before]
    if there_before and here and 2 * len(here_before) >= len(here):
        return _compared(Basis.PEERS_AND_BEFORE, here_before, there_before)
    if there and here:
        return _compared(Basis.PEERS, here, there)
    if here_before:
        return _compared(Basis.BEFORE, here_before, [])
    return None


def _of_wave(board: BoardEvidence, release: str, elsewhere: frozenset[str]) -> _Board | None:
    past = before(board, release, elsewhere)
    return _board(with_release(board, release), past, releases(past))


def _of_peer(board: BoardEvidence, release: str) -> _Board | None:
    """Its past is of use where it ran then what it runs now."""
    now = with_another(board, release)
    past = before(board, release, releases(now))
    return _board(now, past if releases(past) == releases(now) else (), releases(now))


def _board(
    now: Sequence[ModelWindow], past: Sequence[ModelWindow], references: frozenset[str]
) -> _Board | None:
    measured = location(_sketch(now))
    if measured is None:
        return None
    runs = sum(window.compute_ms.count for window in now)
    return _Board(now=measured, before=location(_sketch(past)), runs=runs, references=references)


def _sketch(windows: Iterable[ModelWindow]) -> Sketch:
    sketches = [window.compute_ms for window in windows]
    return reduce(merge, sketches) if sketches else Sketch()


def _compared(basis: Basis, here: Sequence[_Board], there: Sequence[_Board]) -> Slowdown:
    """`there` is empty for `Basis.BEFORE`."""
    by_change = basis is not Basis.PEERS
    ours, theirs = ([board.change if by_change else board.now for board in one] for one in (here, there))
    wave, peers = _mean(ours), _median(theirs) if theirs else _Middle(0.0, 0.0, 0.0)
    apart = max(_apart([ours, theirs]), SPREAD_OF_CHANGES if by_change else SPREAD_OF_BOARDS)
    spread = apart * math.sqrt(wave.share + peers.share)
    if there:
        reference = _median([board.now for board in there])
    else:
        reference = _mean([board.before for board in here if board.before])
    return Slowdown(
        basis=basis,
        log_ratio=wave.value - peers.value,
        counting=math.sqrt(wave.variance + peers.variance),
        spread=spread if there else math.hypot(spread, SPREAD_OF_TIMES),
        release_ms=math.exp(_mean([board.now for board in here]).value),
        reference_ms=math.exp(reference.value),
        references=tuple(sorted(frozenset[str]().union(*(board.references for board in there or here)))),
        runs=min(sum(board.runs for board in here), _LARGEST),
        boards=len(here),
    )


@dataclass(frozen=True)
class _Middle:
    """Of several boards: the value, the variance that counting leaves, and which share of one board's spread."""

    value: float
    variance: float
    share: float


def _mean(group: Sequence[Estimate]) -> _Middle:
    count = len(group)
    return _Middle(
        math.fsum(one.value for one in group) / count,
        math.fsum(one.variance for one in group) / count**2,
        1 / count,
    )


def _median(group: Sequence[Estimate]) -> _Middle:
    """Its variance is that of the mean times pi / 2; of two or one it is the mean."""
    mean, factor = _mean(group), math.pi / 2 if len(group) > 2 else 1.0
    return _Middle(statistics.median(one.value for one in group), mean.variance * factor, mean.share * factor)


def _apart(groups: Sequence[Sequence[Estimate]]) -> float:
    """How far boards of one group are apart, beside what counting explains; 0 where no group has two."""
    several = [group for group in groups if len(group) > 1]
    values = [one for group in several for one in group]
    if not values:
        return 0.0
    deviations = [abs(one.value - _median(group).value) for group in several for one in group]
    scale = 1.4826 * statistics.median(deviations) * len(values) / (len(values) - 0.8)
    return math.sqrt(max(0.0, scale**2 - statistics.median(one.variance for one in values)))
