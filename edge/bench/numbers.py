"""The numbers of a series of windows: for each the median of the rounds, the least and the most."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.contract.load import LoadReport, joined

PERCENTILES = (50, 90, 95, 99)
LATE_MS = 1.0
"""A request to which the generator came later than this is counted as sent late."""

Number = Callable[[LoadReport], float | None]


def _percentile(part: float) -> Number:
    return lambda report: report.latencies.quantile_ms(part)


def _megabytes(field: str) -> Number:
    return lambda report: None if (size := getattr(report, field)) is None else size / 1e6


NUMBERS: Mapping[str, Number] = {
    "requests_per_s": lambda report: report.requests_per_s,
    **{f"p{percent}_ms": _percentile(percent / 100) for percent in PERCENTILES},
    "max_ms": _percentile(1.0),
    "mean_ms": lambda report: report.latencies.mean_ms(),
    "cpu_us_per_request": lambda report: report.cpu_us_per_request,
    "generator_us_per_request": lambda report: report.generator_us_per_request,
    "batch_size": lambda report: report.batch_size,
    "rss_mb": _megabytes("server_rss_bytes"),
    "pss_mb": _megabytes("server_pss_bytes"),
    "peak_mb": _megabytes("server_peak_bytes"),
    "temperature_c": lambda report: report.temperature_c,
}
"""What is told of each window, by the names that `--json` has."""


@dataclass(frozen=True)
class Spread:
    """Of the rounds: the median, the least, the most."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of those that could be told; None where none could."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def numbers(reports: Sequence[LoadReport]) -> dict[str, Spread | None]:
    """All of `NUMBERS` over the rounds."""
    return {name: spread(number(report) for report in reports) for name, number in NUMBERS.items()}


def errors(reports: Sequence[LoadReport]) -> dict[str, int]:
    """Failed requests of all rounds, by what they were."""
    whole: dict[str, int] = {}
    for report in reports:
        for what, count in report.errors.items():
            whole[what] = whole.get(what, 0) + count
    return whole


def late(reports: Sequence[LoadReport]) -> tuple[int, float | None]:
    """How many requests the generator itself came to late, and by how many milliseconds at most."""
    lateness = joined(report.late for report in reports)
    count = sum(count for border, count in lateness.counts.items() if int(border) > LATE_MS * 1e6)
    return count, lateness.quantile_ms(1.0)
