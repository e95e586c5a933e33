"""A stored sample as rows of a table: one a model, with the board's values beside it.

The rule: what leaves the store is what boards counted (cumulative within a boot), not what we make of it. A sample
without models is one row without a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.contract.samples import ModelCounters
from edge.telemetry.body import BOARD
from edge.telemetry.records import StoredSample

TEXT, WHOLE, NUMBER, COUNTS = "text", "whole", "number", "counts"
COLUMNS: dict[str, str] = {
    "device": TEXT, "device_id": TEXT, "boot": TEXT, "seq": WHOLE,
    "at": NUMBER, "rx": NUMBER, "wall": NUMBER, "monotonic": NUMBER,
    "cpu_s": NUMBER, "agent_cpu_s": NUMBER, "memory_used_bytes": WHOLE, "memory_total_bytes": WHOLE,
    "agent_memory_bytes": WHOLE, "disk_free_bytes": WHOLE, "uptime_s": NUMBER, "temperature_c": NUMBER,
    "throttled": TEXT, "network_sent_bytes": WHOLE, "network_received_bytes": WHOLE,
    "model": TEXT, "release": TEXT, "requests": WHOLE, "errors": COUNTS, "batches": WHOLE, "queue": WHOLE,
    "compute_s": NUMBER, "latency_ms_total": NUMBER, "latency_ms_counts": COUNTS,
    "compute_ms_total": NUMBER, "compute_ms_counts": COUNTS,
}  # fmt: skip
"""Column to what it holds; counts are by error code, or by bucket of the sketch (`agent.contract.sketch`)."""


def rows(sample: StoredSample, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a sample; `name` is the board's. Values that the board can't tell are None."""
    board = {column: getattr(sample.board, column) for column in BOARD}
    head = {
        "device": name, "device_id": sample.device, "boot": sample.boot, "seq": sample.seq,
        "at": sample.at, "rx": sample.rx, "wall": sample.wall, "monotonic": sample.monotonic, **board,
    }  # fmt: skip
    for model in sample.models:
        yield {**head, **_model(model)}
    if not sample.models:
        yield {column: head.get(column) for column in COLUMNS}


def _model(model: ModelCounters) -> dict[str, Any]:
    return {
        "model": model.name, "release": model.release, "requests": model.requests, "errors": dict(model.errors),
        "batches": model.batches, "queue": model.queue, "compute_s": model.compute_s,
        "latency_ms_total": model.latency_ms.total, "latency_ms_counts": dict(model.latency_ms.counts),
        "compute_ms_total": model.compute_ms.total, "compute_ms_counts": dict(model.compute_ms.counts),
    }  # fmt: skip
