"""The fleet for Prometheus: text format, made from the newest sample of each board.

The rule: a number that the agent shows too has the agent's name for it (`agent.metrics`), with the board's name as a
label; counters are the board's own, so that a new boot is an ordinary reset. What a board has not confirmed for
`STALE_S` is left out, as if the board could not be scraped; whether it is there is told for every board.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.contract.messages import Presence
from agent.contract.samples import BoardCounters, ModelCounters
from agent.contract.sketch import Sketch
from edge.telemetry import query
from edge.telemetry.records import BoardNow, StoredSample
from edge.telemetry.store import Store

STALE_S = 300.0
QUANTILES = (0.5, 0.95, 0.99)

BOARD: tuple[tuple[str, str, Callable[[BoardCounters], float | None]], ...] = (
    ("edge_agent_memory_bytes", "Resident memory of the agent.", lambda b: b.agent_memory_bytes),
    ("edge_board_temperature_celsius", "The hottest thermal zone.", lambda b: b.temperature_c),
    ("edge_board_uptime_seconds", "Since the board started.", lambda b: b.uptime_s),
    ("edge_board_disk_free_bytes", "Where the board's folder is.", lambda b: b.disk_free_bytes),
    ("edge_board_throttled_flags", "The firmware's flags, as a number.", lambda b: _flags(b.throttled)),
    ("nv_cpu_memory_total_bytes", "Memory of the board.", lambda b: b.memory_total_bytes),
    ("nv_cpu_memory_used_bytes", "Memory in use.", lambda b: b.memory_used_bytes),
)
"""Gauges of a board: name, text, value."""
BOARD_TOTALS: tuple[tuple[str, str, Callable[[BoardCounters], float | None]], ...] = (
    ("edge_agent_cpu_seconds", "CPU time of the agent.", lambda b: b.agent_cpu_s),
    ("edge_board_cpu_seconds", "CPU time of all cores, idle excluded.", lambda b: b.cpu_s),
)
"""Counters of a board; `_total` follows each name."""
MODEL_TOTALS: tuple[tuple[str, str, Callable[[ModelCounters], float]], ...] = (
    ("edge_model_requests", "Requests answered or failed.", lambda m: m.requests),
    ("edge_model_batches", "Runs of the engine.", lambda m: m.batches),
    ("edge_model_compute_seconds", "CPU time of the engine.", lambda m: m.compute_s),
)
MODEL_SKETCHES: tuple[tuple[str, str, Callable[[ModelCounters], Sketch]], ...] = (
    ("edge_model_latency_ms", "From the whole request to its answer.", lambda m: m.latency_ms),
    ("edge_model_compute_ms", "CPU time of one run of the engine.", lambda m: m.compute_ms),
)


def exposition(store: Store, *, names: Mapping[str, str], now: float | None = None) -> str:
    """The text.

    Args:
        store: open.
        names: of the boards that are shown, by id.
        now: seconds since 1970; None for this machine's clock.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fleet(store, names, time.time() if now is None else now))
    return generate_latest(registry).decode()


class _Fleet(Collector):
    def __init__(self, store: Store, names: Mapping[str, str], now: float) -> None:
        self._names = names
        self._boards = query.fleet_now(store, span_s=0, now=now, devices=tuple(names))
        newest = query.newest_samples(store)
        self._samples = [s for s in newest if s.device in names and now - s.at <= STALE_S]

    def collect(self) -> Iterable[Metric]:
        yield from _boards(self._boards, self._names)
        yield from _counters(self._samples, self._names)
        yield from _models(self._samples, self._names)


def _boards(boards: Iterable[BoardNow], names: Mapping[str, str]) -> Iterator[Metric]:
    online = GaugeMetricFamily("edge_board_online", "1 where the board is connected.", labels=("device",))
    seen = GaugeMetricFamily(
        "edge_board_last_seen_seconds", "When its last message came.", labels=("device",)
    )
    info = GaugeMetricFamily(
        "edge_board_info", "What it is.", labels=("device", "device_id", "profile", "agent")
    )
    gaps = CounterMetricFamily("edge_telemetry_gaps", "Samples that boards dropped.", labels=("device",))
    breaks = CounterMetricFamily(
        "edge_telemetry_breaks", "Samples acknowledged elsewhere.", labels=("device",)
    )
    for board in boards:
        name = names[board.device]
        online.add_metric((name,), float(board.presence is Presence.ONLINE))
        info.add_metric((name, board.device, board.profile or "", board.agent_version or ""), 1.0)
        gaps.add_metric((name,), board.gaps)
        breaks.add_metric((name,), board.breaks)
        if board.last_seen is not None:
            seen.add_metric((name,), board.last_seen)
    return iter((online, seen, info, gaps, breaks))


def _counters(samples: Iterable[StoredSample], names: Mapping[str, str]) -> Iterator[Metric]:
    boards = [(names[sample.device], sample.board) for sample in samples]
    for family, entries in ((GaugeMetricFamily, BOARD), (CounterMetricFamily, BOARD_TOTALS)):
        for metric, text, value in entries:
            found = family(metric, text, labels=("device",))
            for name, board in boards:
                if (number := value(board)) is not None:
                    found.add_metric((name,), number)
            yield found
    network = CounterMetricFamily(
        "edge_board_network_bytes", "Of all interfaces but the loopback.", labels=("device", "direction")
    )
    for name, board in boards:
        for direction, count in (
            ("sent", board.network_sent_bytes),
            ("received", board.network_received_bytes),
        ):
            if count is not None:
                network.add_metric((name, direction), count)
    yield network


def _models(samples: Iterable[StoredSample], names: Mapping[str, str]) -> Iterator[Metric]:
    labels = ("device", "model", "release")
    models = [((names[s.device], model.name, model.release), model) for s in samples for model in s.models]
    for metric, text, value in MODEL_TOTALS:
        total = CounterMetricFamily(metric, text, labels=labels)
        for labelled, model in models:
            total.add_metric(labelled, value(model))
        yield total
    errors = CounterMetricFamily(
        "edge_model_errors", "Requests that failed, by error code.", labels=(*labels, "code")
    )
    queue = GaugeMetricFamily("nv_inference_pending_request_count", "Requests that wait.", labels=labels)
    for labelled, model in models:
        queue.add_metric(labelled, model.queue)
        for code, count in model.errors.items():
            errors.add_metric((*labelled, code), count)
    yield from (errors, queue)
    for metric, text, sketch in MODEL_SKETCHES:
        quantiles = GaugeMetricFamily(metric, text, labels=(*labels, "quantile"))
        for labelled, model in models:
            for part in QUANTILES:
                if (number := sketch(model).quantile(part)) is not None:
                    quantiles.add_metric((*labelled, str(part)), number)
        yield quantiles


def _flags(throttled: str | None) -> float | None:
    """The firmware's flags as a number; None where the board says something else."""
    try:
        return None if throttled is None else float(int(throttled, 16))
    except ValueError:
        return None
