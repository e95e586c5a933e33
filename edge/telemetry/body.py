"""A sample's counters as the store keeps them: MessagePack of arrays, without names.

The rule: fields are written in the order of `BOARD` and `MODEL`, and new ones only ever go to the end of them, so that
a newer edge reads what an older one wrote. Law: `unpack(pack(sample)) == (sample.board, sample.models)`, without what
a newer board added (`extra`).
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec

from agent.contract.samples import BoardCounters, ModelCounters, Sample
from agent.contract.sketch import Sketch

BOARD = (
    "cpu_s", "agent_cpu_s", "memory_used_bytes", "memory_total_bytes", "agent_memory_bytes", "disk_free_bytes",
    "uptime_s", "temperature_c", "throttled", "network_sent_bytes", "network_received_bytes",
)  # fmt: skip
MODEL = (
    "name", "release", "requests", "errors", "batches", "queue", "compute_s",
    "latency_ms.counts", "latency_ms.total", "compute_ms.counts", "compute_ms.total",
    "compared", "agreed", "dropped",
)  # fmt: skip

_board_values = attrgetter(*BOARD)
_model_values = attrgetter(*MODEL)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[Any], list[list[Any]]]).decode


def pack(sample: Sample) -> bytes:
    """The counters of a sample; whole numbers of 64 bits."""
    return _encode((_board_values(sample.board), [_model_values(model) for model in sample.models]))


def unpack(body: bytes) -> tuple[BoardCounters, tuple[ModelCounters, ...]]:
    """What `pack` packed."""
    board, models = _decode(body)
    return BoardCounters(*board), tuple(_model(model) for model in models)


def _model(values: list[Any]) -> ModelCounters:
    return ModelCounters(*[*values[:7], Sketch(*values[7:9]), Sketch(*values[9:11]), *values[11:14]])
