"""What `edge bench` says of its windows: tables, a document, and the sentences below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from agent.contract.load import LoadReport, joined
from edge.bench.knee import Knee, keeps, knee_of
from edge.bench.numbers import LATE_MS, NUMBERS, PERCENTILES, Spread, errors, late, numbers
from edge.bench.ratio import Ratio, ratio
from edge.bench.rounds import Series
from edge.cli import output

COMPARED = {
    "requests_per_s": "requests/s",
    "p50_ms": "p50",
    "p95_ms": "p95",
    "p99_ms": "p99",
    "cpu_us_per_request": "CPU/request",
    "pss_mb": "memory",
}
"""Of `NUMBERS`, what two subjects are compared by."""


def show(measured: Sequence[Series], knee: Knee | None, p95_ms: float | None) -> None:
    """Tables on stdout, what must be known of them on stderr."""
    is_open = measured[0].window.rate_per_s is not None
    headers = ["what", "requests/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms", "failed"]
    rows = []
    for series in measured:
        found = numbers(series.reports)
        row = [
            series.title,
            *(_cell(found[name]) for name in ("requests_per_s", "p50_ms", "p90_ms", "p95_ms")),
        ]
        row += [_cell(found["p99_ms"]), _cell(found["max_ms"]), str(sum(errors(series.reports).values()))]
        rows.append([_rate(series), *row] if is_open else row)
    output.table(["rate/s", *headers] if is_open else headers, rows, right=range(1, len(rows[0])))
    click.echo()
    costs = [_cost(series) for series in measured]
    if any(any(cell != "–" for cell in row[1:]) for row in costs):
        output.table(
            [
                "what",
                "CPU µs/request",
                "generator µs",
                "PSS MB",
                "RSS MB",
                "peak MB",
                "batch",
                "°C",
                "throttled",
            ],
            costs,
            right=range(1, 8),
        )
    _compare(measured)
    for sign, words in remarks(measured, knee, p95_ms):
        output.line(sign, words)


def _rate(series: Series) -> str:
    return f"{series.window.rate_per_s:.4g}"


def _cost(series: Series) -> list[str]:
    found, last = numbers(series.reports), series.reports[-1]
    names = ("cpu_us_per_request", "generator_us_per_request", "pss_mb", "rss_mb", "peak_mb", "batch_size")
    title = series.title if series.window.rate_per_s is None else f"{series.title}, {_rate(series)}/s"
    before, after = series.reports[0].temperature_c_before, last.temperature_c
    heat = f"{before:.0f} to {after:.0f}" if before is not None and after is not None else "–"
    return [title, *(_cell(found[name]) for name in names), heat, last.throttled or "–"]


def _compare(measured: Sequence[Series]) -> None:
    rows = [
        [
            f"{second.title} to {first.title}",
            COMPARED[name],
            f"{found.median:.3f}",
            _interval(found),
            found.verdict,
        ]
        for first, second in _pairs(measured)
        for name, found in ratios(first, second).items()
    ]
    if rows:
        click.echo()
        headers = ["ratio", "of", "median", "interval", ""]
        output.table(headers, rows, right=(2, 3))


def _pairs(measured: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """The first subject beside each other one, rate by rate."""
    for _, group in groupby(measured, key=lambda series: series.window):
        first, *others = group
        for other in others:
            yield first, other


def ratios(first: Series, second: Series) -> dict[str, Ratio]:
    """Of what could be told of both."""
    found = {
        name: ratio([NUMBERS[name](r) for r in first.reports], [NUMBERS[name](r) for r in second.reports])
        for name in COMPARED
    }
    return {name: each for name, each in found.items() if each is not None}


def remarks(measured: Sequence[Series], knee: Knee | None, p95_ms: float | None) -> Iterator[tuple[str, str]]:
    """Sentences with their signs: how it was measured, what is wrong with it, whether the budget is kept."""
    window, rounds = measured[0].window, max(len(series.reports) for series in measured)
    loop = f"open loop, {window.arrivals} arrivals" if window.rate_per_s is not None else "closed loop"
    at_once = f", {window.connections} {'at once' if window.way == 'mqtt' else 'connections'}"
    with_connections = "" if window.way == "engine" else at_once
    longer = "at least " if len({series.window.seconds for series in measured}) > 1 else ""
    seconds = min(series.window.seconds for series in measured)
    yield (
        "note",
        f"{window.way}, {loop}{with_connections}: {rounds} rounds of {longer}{seconds:g} s, each after "
        f"{window.warm_up_s:g} s of warm-up; medians, in brackets the least and the most",
    )
    for series in measured:
        yield from _doubts(series)
    if p95_ms is not None:
        yield from _verdict(measured, knee, p95_ms)


def _doubts(series: Series) -> Iterator[tuple[str, str]]:
    title = series.title if series.window.rate_per_s is None else f"{series.title} at {_rate(series)}/s"
    failed = errors(series.reports)
    if failed:
        listed = ", ".join(f"{count} × {what}" for what, count in sorted(failed.items()))
        yield "bad", f"{title}: failed requests: {listed}"
    count, most_ms = late(series.reports)
    sent = sum(report.sent for report in series.reports)
    if count and most_ms is not None:
        yield (
            "doubt",
            f"{title}: the load generator itself was late by more than {LATE_MS:g} ms for {count} of {sent} requests, "
            f"by {most_ms:.1f} ms at most; latencies hold that too",
        )
    waited = sum(report.waited for report in series.reports)
    if waited:
        yield (
            "note",
            f"{title}: {waited} of {sent} requests waited for a free connection; latencies hold that too",
        )
    if _throttled(series.reports):
        yield (
            "doubt",
            f"{title}: the board was throttled or its supply too weak: {series.reports[-1].throttled}",
        )


def _throttled(reports: Sequence[LoadReport]) -> bool:
    """Bits 0 to 3 of the firmware's flags: under-voltage, capped, throttled, soft temperature limit, now."""
    return any(report.throttled and int(report.throttled, 16) & 0xF for report in reports)


def _verdict(measured: Sequence[Series], knee: Knee | None, p95_ms: float) -> Iterator[tuple[str, str]]:
    swept = {series.window.rate_per_s for series in measured}
    found = knee
    if found is None and len(swept) > 1 and len({series.title for series in measured}) == 1:
        found = knee_of(measured, p95_ms)
    if found is not None:
        if found.rate_per_s is None:
            yield "bad", f"no rate keeps p95 within {p95_ms:g} ms, not even {found.misses_per_s:.4g}/s"
        else:
            beyond = f"; {found.misses_per_s:.4g}/s misses it" if found.misses_per_s else ""
            yield "good", f"{found.rate_per_s:.4g}/s keeps p95 within {p95_ms:g} ms{beyond}"
        return
    for series in measured:
        kept = keeps(series, p95_ms)
        yield (
            ("good" if kept else "bad"),
            f"{series.title} {'keeps' if kept else 'misses'} p95 within {p95_ms:g} ms",
        )


def document(
    measured: Sequence[Series], knee: Knee | None, p95_ms: float | None, *, interrupted: bool
) -> dict[str, Any]:
    """All of it, for `--json`."""
    return {
        "interrupted": interrupted,
        "p95_budget_ms": p95_ms,
        "knee": knee,
        "series": [_series(series, p95_ms) for series in measured],
        "ratios": [
            {"of": second.title, "to": first.title, "rate_per_s": first.window.rate_per_s, "ratios": {
                name: {**vars(found), "verdict": found.verdict} for name, found in ratios(first, second).items()
            }}
            for first, second in _pairs(measured)
        ],
    }  # fmt: skip


def _series(series: Series, p95_ms: float | None) -> dict[str, Any]:
    whole = joined(report.latencies for report in series.reports)
    count, most_ms = late(series.reports)
    first, last = series.reports[0], series.reports[-1]
    return {
        "title": series.title,
        "model": first.model,
        "version": first.version,
        "engine": first.engine,
        "window": series.window,
        "rounds": len(series.reports),
        "requests": sum(report.requests for report in series.reports),
        "sent": sum(report.sent for report in series.reports),
        "request_bytes": first.request_bytes,
        "errors": errors(series.reports),
        "numbers": numbers(series.reports),
        "all_rounds": {f"p{percent}_ms": whole.quantile_ms(percent / 100) for percent in PERCENTILES},
        "generator_late": {"count": count, "max_ms": most_ms},
        "waited_for_a_connection": sum(report.waited for report in series.reports),
        "temperature_c": [first.temperature_c_before, last.temperature_c],
        "throttled": [first.throttled_before, last.throttled],
        "keeps_budget": keeps(series, p95_ms) if p95_ms is not None else None,
    }


def _cell(found: Spread | None) -> str:
    if found is None:
        return "–"
    whole = _number(found.median)
    if found.least == found.most:
        return whole
    return f"{whole} ({_number(found.least)}–{_number(found.most)})"


def _interval(found: Ratio) -> str:
    return f"{found.low:.3f}–{found.high:.3f}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value < 0.1 else f"{value:.2f}"
