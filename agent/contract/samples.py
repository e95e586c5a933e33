"""What a board counts and measures, before it is a message: counters, samples, and what was dropped of them.

The rule: counters only grow within a boot, so that a lost sample loses no count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.sketch import Sketch


@dataclass(frozen=True)
class ModelCounters:
    """One model's counters since the boot began; they only grow.

    Attributes:
        requests: answered or failed.
        errors: by error code.
        batches: runs of the engine. queue: requests waiting now.
        compute_s: CPU time of the engine, seconds in all.
        latency_ms: sketch of the time from request to answer. compute_ms: sketch of the engine's CPU time per run.
        compared, dropped: of a shadow: requests of its primary that it answered too, and that it had no time for.
        agreed: how far these answers agree with the primary's, 0 to 1 each, together. None of anything but a shadow.
    """

    name: str
    release: str
    requests: int
    errors: Mapping[str, int]
    batches: int
    queue: int
    compute_s: float
    latency_ms: Sketch
    compute_ms: Sketch
    compared: int | None = None
    agreed: float | None = None
    dropped: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BoardCounters:
    """The board as a whole. None: this board can't tell.

    Attributes:
        cpu_s: CPU seconds of the whole board, idle excluded; agent_cpu_s: of the agent.
        memory_used_bytes, memory_total_bytes, agent_memory_bytes, disk_free_bytes: now.
        temperature_c: of the hottest zone. throttled: the firmware's flags as text.
        network_sent_bytes, network_received_bytes: since the board started.
        uptime_s: of the board.
    """

    cpu_s: float
    agent_cpu_s: float
    memory_used_bytes: int
    memory_total_bytes: int
    agent_memory_bytes: int
    disk_free_bytes: int
    uptime_s: float
    temperature_c: float | None = None
    throttled: str | None = None
    network_sent_bytes: int | None = None
    network_received_bytes: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What a board measured at one moment.

    Attributes:
        seq: within the boot, from 1.
        wall: the board's clock, seconds since 1970. monotonic: seconds since the board started.
        board, models: cumulative counters.
    """

    seq: int
    wall: float
    monotonic: float
    board: BoardCounters
    models: tuple[ModelCounters, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Gap:
    """Samples of a boot that the board dropped because its outbox was full: `first` to `last`, both dropped."""

    first: int
    last: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise DocumentInvalid(document="Gap", reason=f"{self.first} to {self.last} is no range")
