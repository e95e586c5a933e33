"""What questions to the store are answered with.

The rule: everything here is a difference or a newest value of what boards themselves counted; where a board can't tell
or nothing is known, a value is None, never 0. Times are this machine's clock, corrected for the board's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.contract.messages import Presence, Reported, ServedModel
from agent.contract.samples import BoardCounters, ModelCounters
from agent.contract.sketch import Sketch


@dataclass(frozen=True, kw_only=True)
class ModelWindow:
    """What one model of one board did in a span: the newest counters less those at the span's beginning.

    A boot that began within the span counts from its start; several boots of one release add up.

    Attributes:
        device: id. model, release: `digits`, `digits@2`.
        seconds: of the board's own (monotonic) time that the counters cover.
        requests: answered or failed. errors: by code. batches: runs of the engine. queue: requests waiting at the end.
        compute_s: CPU seconds of the engine.
        latency_ms, compute_ms: of the span alone.
    """

    device: str
    model: str
    release: str
    seconds: float
    requests: int
    errors: Mapping[str, int]
    batches: int
    queue: int
    compute_s: float
    latency_ms: Sketch
    compute_ms: Sketch

    @property
    def failed(self) -> int:
        """Requests that got an error."""
        return sum(self.errors.values())


@dataclass(frozen=True, kw_only=True)
class BoardWindow:
    """What a board as a whole did in a span, and its newest values.

    Attributes:
        cpu_percent: of all cores together, 100 is one core busy. agent_cpu_percent: of the agent.
        now: the newest counters.
    """

    seconds: float
    cpu_percent: float | None
    agent_cpu_percent: float | None
    now: BoardCounters


OPEN_WAYS = ("up", "broker")


@dataclass(frozen=True, kw_only=True)
class LinkState:
    """How the collector reaches a board, as it wrote it last.

    Attributes:
        tunnel: `up`, `down`, `refused`, or `broker` where no tunnel is needed. reason: why it is not up.
        silent_s: seconds without a message while the collector was awake, connected and its tunnel up; sleep and cut
            links do not count.
        backlog: the board is still sending what waited.
    """

    tunnel: str
    reason: str | None
    silent_s: float
    backlog: bool

    @property
    def is_open(self) -> bool:
        """Whether the board could be heard."""
        return self.tunnel in OPEN_WAYS


@dataclass(frozen=True, kw_only=True)
class BoardNow:
    """A board as the store knows it now.

    Attributes:
        device: id.
        presence: by its newest birth, goodbye or will that is not a late one.
        boot, agent_version, profile, models: of its birth.
        last_seen: when its last message came, seconds since 1970; None where none ever did.
        window: of its newest samples, or None without samples.
        rates: per model and release, over the same span.
        gaps: samples that it stated as dropped, in all.
        breaks: samples that were acknowledged to a store which is not this one.
        link: None where no collector wrote anything of it.
        reported: its newest verified report.
    """

    device: str
    presence: Presence
    boot: str | None
    agent_version: str | None
    profile: str | None
    models: tuple[ServedModel, ...]
    last_seen: float | None
    window: BoardWindow | None
    rates: tuple[ModelWindow, ...]
    gaps: int
    breaks: int
    link: LinkState | None
    reported: Reported | None


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """One stream of numbers, `(device, boot)`, as the store holds it.

    Attributes:
        high_water: everything up to it is stored or stated.
        samples, events: stored. gaps: numbers stated as dropped by the board. breaks: acknowledged elsewhere.
    """

    device: str
    boot: str
    high_water: int
    samples: int
    events: int
    gaps: int
    breaks: int


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Numbers of a stream that are not stored, `first` to `last`, both missing.

    Attributes:
        kind: `gap`, dropped by the board whose outbox was full, or `break`, acknowledged to another store.
        rx: when that was learnt, seconds since 1970.
    """

    device: str
    boot: str
    first: int
    last: int
    kind: str
    rx: float


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """A sample as it is stored.

    Attributes:
        position: of its row, grows with arrival.
        at: when it was measured, by this machine's clock; rx: when it came; wall: what the board's clock said.
        monotonic: seconds since the board started.
    """

    position: int
    device: str
    boot: str
    seq: int
    at: float
    rx: float
    wall: float
    monotonic: float
    board: BoardCounters
    models: tuple[ModelCounters, ...]


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """An event as it is stored; times are as a sample's."""

    position: int
    device: str
    boot: str
    seq: int
    at: float
    rx: float
    kind: str
    code: str
    message: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RefusedMessages:
    """Messages that were not taken.

    Attributes:
        device: id; None where no board of the fleet is meant.
        code: of what was wrong. message: of the last one. rx: when that came.
    """

    device: str | None
    code: str
    count: int
    message: str
    rx: float
