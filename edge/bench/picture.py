"""The picture of a load test: latency against rate where rates were swept, else the percentiles of each subject."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from agent.contract.load import Latencies, joined
from edge.bench.chart import Axis, Limit, Line, chart, linear_axis, log_axis
from edge.bench.numbers import spread
from edge.bench.rounds import Series

LATENCY = "latency, ms"
NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
SWEPT = (50, 95, 99)
POINTS_A_DECADE = 60
"""More are not to be seen."""


def picture(found: Sequence[Series], budget_p95_ms: float | None) -> str:
    """The picture as the text of an SVG file.

    Args:
        found: with one window of each at least.
        budget_p95_ms: drawn as a line.
    """
    limits = [Limit(f"p95 budget {budget_p95_ms:g} ms", budget_p95_ms)] if budget_p95_ms is not None else []
    rates = {series.window.rate_per_s for series in found if series.window.rate_per_s is not None}
    if len(rates) > 1:
        return _against_rate(found, limits)
    return _percentiles(found, limits)


def _percentiles(found: Sequence[Series], limits: Sequence[Limit]) -> str:
    whole = [(series.title, joined(report.latencies for report in series.reports)) for series in found]
    most = max(latencies.count for _, latencies in whole)
    lines = [Line(title, list(_curve(latencies))) for title, latencies in whole]
    last = math.log10(max(most, 10))
    ticks = [(part, f"{100 * part:g}%") for part in NINES if part == 0 or -math.log10(1 - part) <= last]
    across = Axis("percentile, of all requests", lambda part: min(1.0, -math.log10(1 - part) / last), ticks)
    up = log_axis(LATENCY, [*(point for line in lines for _, point in line.points), *_values(limits)])
    rounds = max(len(series.reports) for series in found)
    return chart(f"Latency, {rounds} rounds of {found[0].window.seconds:g} s", across, up, lines, limits)


def _curve(latencies: Latencies) -> Iterator[tuple[float, float]]:
    """Points of the percentile curve, dense enough to be smooth; the last is the largest latency."""
    drawn = -1.0
    for reached, latency_ms in latencies.curve_ms():
        below_all = min(reached, 1 - 1 / (2 * latencies.count))  # 100 % would lie infinitely far to the right
        place = -math.log10(1 - below_all)
        if drawn < 0:
            yield 0.0, latency_ms
        if place - drawn >= 1 / POINTS_A_DECADE or reached == 1.0:
            yield below_all, latency_ms
            drawn = place


def _against_rate(found: Sequence[Series], limits: Sequence[Limit]) -> str:
    titles = list(dict.fromkeys(series.title for series in found))
    lines = []
    for title in titles:
        swept = sorted(
            (series for series in found if series.title == title and series.reports),
            key=lambda series: series.window.rate_per_s or 0.0,
        )
        for percent in SWEPT:
            points = []
            for series in swept:
                value = spread(report.latencies.quantile_ms(percent / 100) for report in series.reports)
                if value is not None:
                    points.append((series.window.rate_per_s or 0.0, value.median))
            lines.append(Line(f"{title}, p{percent}", points, marked=True))
    across = linear_axis(
        "requests a second, open loop", max(rate for line in lines for rate, _ in line.points)
    )
    up = log_axis(LATENCY, [*(value for line in lines for _, value in line.points), *_values(limits)])
    return chart("Latency against rate", across, up, lines, limits)


def _values(limits: Sequence[Limit]) -> list[float]:
    return [limit.value for limit in limits]
