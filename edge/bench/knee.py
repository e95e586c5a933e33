"""The knee: up to which rate a model answers within its budget.

The rule: a rate keeps the budget when the p95 of an open loop at that rate is within it, every request was answered,
and no backlog was left over, which would grow on in a longer window. The search halves, and what it found is confirmed
by rounds of its own before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.contract.load import LoadReport
from edge.bench.numbers import spread
from edge.bench.rounds import Series

CLOSE_ENOUGH = 1.1
"""The search ends when the least rate that misses is so many times the largest that keeps."""
LOWEST_PART = 1 / 64
"""Of what a closed loop answers: a model that keeps its budget at no higher rate is said to miss it."""
HIGHEST_PART = 4
CONFIRMATIONS = 4
BACKLOG_PART = 0.05
"""Of the window: so much longer than it the answers may take."""


@dataclass(frozen=True)
class Knee:
    """What a search found.

    Attributes:
        rate_per_s: the largest that keeps the budget; None where none does.
        misses_per_s: the least that was seen to miss it; None where none was.
    """

    rate_per_s: float | None
    misses_per_s: float | None


def keeps(series: Series, p95_ms: float) -> bool:
    """Whether windows keep the budget: the median of their p95, no failed request, and no backlog."""
    found = spread(report.latencies.quantile_ms(0.95) for report in series.reports)
    return (
        found is not None
        and found.median <= p95_ms
        and not any(report.errors for report in series.reports)
        and all(kept_up(report, series.window.seconds) for report in series.reports)
    )


def kept_up(report: LoadReport, seconds: float) -> bool:
    """Whether the last answer came about when a usual one would have; behind a backlog it takes twice that."""
    usual_s = (report.latencies.quantile_ms(0.5) or 0.0) / 1000
    return report.seconds <= seconds * (1 + BACKLOG_PART) + usual_s


def search(rate_keeps: Callable[[float], bool], capacity_per_s: float) -> Knee:
    """Find the largest rate that keeps, within a tenth.

    Args:
        rate_keeps: one window at a rate.
        capacity_per_s: what a closed loop answers; where the search begins, half of it.
    """
    low: float | None = None
    high: float | None = None
    rate = capacity_per_s / 2
    while high is None or low is None or high / low > CLOSE_ENOUGH:
        if rate_keeps(rate):
            low = rate
        else:
            high = rate
        if low is None:
            rate /= 2
            if rate < capacity_per_s * LOWEST_PART:
                break
        else:
            rate = low * 1.5 if high is None else (low + high) / 2
            if rate > capacity_per_s * HIGHEST_PART:
                break
    return Knee(low, high)


def confirmed(rate_keeps: Callable[[float], bool], found: Knee) -> Knee:
    """What was found, or the next lower rate that keeps when it is looked at longer."""
    rate, misses = found.rate_per_s, found.misses_per_s
    for _ in range(CONFIRMATIONS):
        if rate is None or rate_keeps(rate):
            return Knee(rate, misses)
        rate, misses = rate / CLOSE_ENOUGH, rate
    return Knee(None, misses)


def knee_of(swept: Sequence[Series], p95_ms: float) -> Knee:
    """Of rates that were measured: the largest below all that miss."""
    best: float | None = None
    for series in sorted(swept, key=lambda series: series.window.rate_per_s or 0.0):
        if not keeps(series, p95_ms):
            return Knee(best, series.window.rate_per_s)
        best = series.window.rate_per_s
    return Knee(best, None)
