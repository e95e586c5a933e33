"""`--find-rate`: the search for the knee, on a real subject."""

from __future__ import annotations

from dataclasses import replace

from edge.bench.knee import Knee, confirmed, keeps, search
from edge.bench.rounds import Rounds, Series, measure_rounds
from edge.bench.subject import Subject
from edge.bench.window import Window
from edge.progress import Progress


def find(
    subject: Subject, window: Window, p95_ms: float, rounds: int, progress: Progress
) -> tuple[Rounds, Knee]:
    """The largest rate that keeps a budget, and all that was measured on the way.

    Args:
        subject: what is loaded.
        window: one window; its rate is what is looked for.
        p95_ms: the budget, in milliseconds.
        rounds: windows that confirm what was found.
        progress: is told of each window.
    """
    seen: list[Series] = []

    def measured(at: Window, count: int) -> Series:
        found = measure_rounds([(subject, at)], count, progress)
        seen.extend(series for series in found.series if series.reports)
        if found.interrupted:
            raise KeyboardInterrupt
        return found.series[0]

    def rate_keeps(rate_per_s: float, count: int) -> bool:
        kept = keeps(measured(window.at(rate_per_s), count), p95_ms)
        progress.step(f"{rate_per_s:.4g}/s {'keeps' if kept else 'misses'} p95 {p95_ms:g} ms")
        return kept

    try:
        closed = measured(replace(window, rate_per_s=None), 1)
        knee = search(lambda rate: rate_keeps(rate, 1), max(closed.reports[0].requests_per_s, 1.0))
        knee = confirmed(lambda rate: rate_keeps(rate, rounds), knee)
    except KeyboardInterrupt:
        return Rounds(series=_swept(seen), interrupted=True), Knee(None, None)
    return Rounds(series=_swept(seen)), knee


def _swept(seen: list[Series]) -> tuple[Series, ...]:
    """By rate, what was measured twice together."""
    whole: dict[float, Series] = {}
    for series in seen:
        rate = series.window.rate_per_s
        if rate is None:
            continue
        before = whole[rate].reports if rate in whole else ()
        whole[rate] = replace(series, reports=(*before, *series.reports))
    return tuple(whole[rate] for rate in sorted(whole))
