"""Telemetry as a person reads it: tables and lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from agent.contract.samples import ModelCounters
from agent.contract.sketch import Sketch
from edge.cli import output
from edge.telemetry.records import (
    BoardNow,
    Missing,
    ModelWindow,
    RefusedMessages,
    StoredEvent,
    StoredSample,
    StreamState,
)

Names = Mapping[str, str]
"""Of boards, by id; one that left the fleet goes by its id."""
UNKNOWN = "-"
BREAK_WORDS = "acknowledged by a store that is not this one: it was replaced, or is an old copy"
GAP_WORDS = "dropped by the board, its outbox was full"


def boards(found: Iterable[BoardNow], names: Names) -> None:
    """A line a board and model."""
    rows = []
    for board in found:
        head = (_name(board.device, names), board.presence.value)
        tail = (
            _number(board.window.cpu_percent if board.window else None, "%"),
            _number(board.window.now.temperature_c if board.window else None, "°C"),
            output.ago(int(board.last_seen)) if board.last_seen is not None else "never",
        )
        rates = [_rate(rate) for rate in board.rates] or [(UNKNOWN,) * 6]
        rows += [(*head, *rate, *tail) for rate in rates]
    headers = (
        "board",
        "",
        "release",
        "requests",
        "req/s",
        "p50 ms",
        "p95 ms",
        "errors",
        "CPU",
        "temp",
        "last seen",
    )
    output.table(headers, rows, right=range(3, 10))


def samples(found: Iterable[StoredSample], names: Names, model: str | None) -> None:
    """A line a sample and model, oldest first."""
    rows = []
    for sample in found:
        head = (_clock(sample.at), _name(sample.device, names), sample.boot[:8], str(sample.seq))
        chosen = [_counted(one) for one in sample.models if model in (None, one.name)] or [(UNKNOWN,) * 3]
        rows += [(*head, *counted, _number(sample.board.cpu_s, "")) for counted in chosen]
    headers = ("measured (UTC)", "board", "boot", "number", "release", "requests", "errors", "CPU s")
    output.table(headers, rows, right=(3, 5, 6, 7))


def events(found: Iterable[StoredEvent], names: Names) -> None:
    """A line an event, oldest first."""
    rows = [(_clock(e.at), _name(e.device, names), e.kind, e.code, e.message) for e in found]
    output.table(("when (UTC)", "board", "kind", "code", "what"), rows)


def streams(found: Iterable[StreamState], names: Names) -> None:
    """A line a boot."""
    rows = [
        (_name(s.device, names), s.boot, *map(str, (s.high_water, s.samples, s.events, s.gaps, s.breaks)))
        for s in found
    ]
    output.table(("board", "boot", "up to", "samples", "events", "gaps", "breaks"), rows, right=range(2, 7))


def missing(one: Missing, names: Names) -> str:
    """What is missing, and why."""
    numbers = f"number {one.first} is" if one.first == one.last else f"numbers {one.first} to {one.last} are"
    why = GAP_WORDS if one.kind == "gap" else BREAK_WORDS
    return f"{_name(one.device, names)}, boot {one.boot}: {numbers} missing, {why}"


def refused(messages: RefusedMessages, names: Names) -> str:
    """What was not taken, and why."""
    whose = _name(messages.device, names) if messages.device else "unknown senders"
    return f"{messages.count} messages of {whose} were not taken, the last one: {messages.message} [{messages.code}]"


def line_of(item: StoredSample | StoredEvent, name: str) -> str:
    """One line for what came in."""
    head = f"{_clock(item.at)}  {name}  {item.boot[:8]}/{item.seq}"
    if isinstance(item, StoredEvent):
        return f"{head}  {item.kind} {item.code}: {item.message}"
    models = "  ".join(
        f"{m.release} requests={m.requests} errors={sum(m.errors.values())}" for m in item.models
    )
    temperature = _number(item.board.temperature_c, "°C")
    return f"{head}  {models or 'no model'}  temperature={temperature}"


def _rate(rate: ModelWindow) -> tuple[str, ...]:
    per_second = rate.requests / rate.seconds if rate.seconds else None
    p50, p95 = (_milliseconds(rate.latency_ms, part) for part in (0.5, 0.95))
    return (rate.release, str(rate.requests), _number(per_second, ""), p50, p95, str(rate.failed))


def _counted(model: ModelCounters) -> tuple[str, ...]:
    return (model.release, str(model.requests), str(sum(model.errors.values())))


def _milliseconds(sketch: Sketch, part: float) -> str:
    value = sketch.quantile(part)
    return UNKNOWN if value is None else f"{value:.3g}"


def _number(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:.1f}{unit}"


def _name(device: str, names: Names) -> str:
    return names.get(device, device)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
