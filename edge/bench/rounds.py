"""Rounds of windows, alternating among what is compared, so that what changes with time changes for all of them.

The rule: what was measured before an interruption is kept and shown, and so is what the cut window had counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.contract.errors import Interrupted
from agent.contract.load import LoadReport
from edge.bench.subject import Subject
from edge.bench.window import Window
from edge.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Series:
    """The windows of one subject at one load, in their order."""

    title: str
    window: Window
    reports: tuple[LoadReport, ...]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What was measured. `interrupted`: before all of it was."""

    series: tuple[Series, ...]
    interrupted: bool = False


def measure_rounds(cells: Sequence[tuple[Subject, Window]], rounds: int, progress: Progress) -> Rounds:
    """Measure each cell once in every round, in turn; every other round backwards.

    Args:
        cells: what, at which load.
        rounds: how many.
        progress: is told of each window.
    """
    found: list[list[LoadReport]] = [[] for _ in cells]
    interrupted = False
    try:
        for number in range(rounds):
            order = range(len(cells)) if number % 2 == 0 else reversed(range(len(cells)))
            for place in order:
                subject, window = cells[place]
                report = subject.measure(window)
                if report.requests or not report.cut:
                    found[place].append(report)
                if report.cut:
                    raise KeyboardInterrupt
                progress.step(f"round {number + 1} of {rounds}: {subject.title}, {told(report)}")
    except (KeyboardInterrupt, Interrupted):
        interrupted = True
    return Rounds(
        series=tuple(
            Series(title=subject.title, window=window, reports=tuple(reports))
            for (subject, window), reports in zip(cells, found, strict=True)
        ),
        interrupted=interrupted,
    )


def told(report: LoadReport) -> str:
    """One window in a few words."""
    asked = f" of {report.rate_per_s:.4g}/s" if report.rate_per_s is not None else ""
    p95 = report.latencies.quantile_ms(0.95)
    words = f"{report.requests_per_s:.0f}/s{asked}" + (f", p95 {p95:.2f} ms" if p95 is not None else "")
    failed = sum(report.errors.values())
    return words + (f", {failed} failed" if failed else "")
