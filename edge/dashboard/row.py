"""A board as one row: the view model that the screen, the lines and the JSON share.

The rule: numbers with their units in the names, None for what is not known; how wide or how round something is shown is
decided by `edge.dashboard.columns` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.contract.sketch import Sketch, merge
from edge.dashboard.condition import Condition, conditions
from edge.telemetry.records import BoardNow


@dataclass(frozen=True, kw_only=True)
class Row:
    """A board now.

    Attributes:
        name, device: what people call it, and its id.
        condition: the worst that can be said of it.
        releases: what it serves.
        requests_per_s, error_part: of the last seconds; errors as a part of the requests, 0 to 1.
        p50_ms, p95_ms: from request to answer. run_p95_ms: CPU time of one run of the engine.
        cpu_percent: 100 is one core busy. memory_percent: of the board's.
        temperature_c: of its hottest zone.
        seen_s: since its last message.
        link: how the collector reaches it; `up`, `down`, `refused`, `broker`, or None where no collector said it.
    """

    name: str
    device: str
    condition: Condition
    releases: tuple[str, ...] = ()
    requests_per_s: float | None = None
    error_part: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    run_p95_ms: float | None = None
    cpu_percent: float | None = None
    memory_percent: float | None = None
    temperature_c: float | None = None
    seen_s: float | None = None
    link: str | None = None


def row(
    name: str, device: str, board: BoardNow | None, *, flashed: bool, interval_s: float, now: float
) -> Row:
    """The row of a board; arguments as of `conditions`."""
    worst = conditions(board, flashed=flashed, interval_s=interval_s, now=now)[0]
    if board is None:
        return Row(name=name, device=device, condition=worst)
    latency = _merged(window.latency_ms for window in board.rates)
    run = _merged(window.compute_ms for window in board.rates)
    requests = sum(window.requests for window in board.rates)
    counters = board.window.now if board.window else None
    return Row(
        name=name,
        device=device,
        condition=worst,
        releases=releases(board),
        requests_per_s=_rate(board),
        error_part=sum(window.failed for window in board.rates) / requests if requests else None,
        p50_ms=latency.quantile(0.5),
        p95_ms=latency.quantile(0.95),
        run_p95_ms=run.quantile(0.95),
        cpu_percent=board.window.cpu_percent if board.window else None,
        memory_percent=(
            100 * counters.memory_used_bytes / counters.memory_total_bytes
            if counters is not None and counters.memory_total_bytes
            else None
        ),
        temperature_c=counters.temperature_c if counters else None,
        seen_s=max(0.0, now - board.last_seen) if board.last_seen is not None else None,
        link=board.link.tunnel if board.link else None,
    )


def releases(board: BoardNow) -> tuple[str, ...]:
    """What a board serves, by its own word; before it was heard of, what its last report says is current."""
    if board.models:
        return tuple(model.release for model in board.models)
    if board.reported is not None and board.reported.current is not None:
        return tuple(model.release for model in board.reported.current.models)
    return ()


def by_severity(rows: Iterable[Row]) -> list[Row]:
    """The worst first, then by name."""
    return sorted(rows, key=lambda it: (it.condition.level, it.condition.word, it.name))


def _rate(board: BoardNow) -> float | None:
    """Requests a second: of each model over the time that its releases, one after another, were there."""
    requests: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for window in board.rates:
        requests[window.model] = requests.get(window.model, 0) + window.requests
        seconds[window.model] = seconds.get(window.model, 0.0) + window.seconds
    rates = [requests[model] / seconds[model] for model in requests if seconds[model] > 0]
    return sum(rates) if rates else None


def _merged(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for sketch in sketches:
        whole = merge(whole, sketch)
    return whole
