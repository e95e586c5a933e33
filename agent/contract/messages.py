"""The messages between board and laptop, over MQTT and as the reports read over SSH.

The rule: a message names the stream that it belongs to, `(device, boot, seq)`. `boot` is random and new at each
start of the agent, durable before the first message; `seq` grows by one within it. Clocks order nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.release import Generation
from agent.contract.samples import Gap, Sample
from agent.contract.states import UpdateState

MESSAGE_SCHEMA = "edge.message/1"
STALE_AFTER_S = 30 * 86_400
"""A board that for so long was shown nothing newly signed is *stale*: it may be that somebody holds back the news."""


class Presence(str, enum.Enum):
    """Whether a board is there."""

    ONLINE = "online"
    OFFLINE = "offline"
    """It said goodbye."""
    LOST = "lost"
    """The broker said it for it (the will)."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServedModel:
    """A model as a board reports it: name, release, bundle digest, and `loading`, `ready` or `failed`."""

    name: str
    release: str
    bundle: str
    state: str = "ready"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Birth:
    """Retained. What a board is, said when it connects.

    Attributes:
        boot: of this start of the agent, 16 hexadecimal digits.
        connection: number of this connection within the boot, from 1.
        agent_version, contracts, profile, hardware: what it is.
        models: what it serves.
        fields: telemetry field name to unit, so that a collector needs no table of its own.
    """

    device: str
    boot: str
    connection: int
    agent_version: str
    contracts: tuple[int, ...]
    profile: str
    hardware: Mapping[str, Any]
    models: tuple[ServedModel, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PresenceMessage:
    """Retained; also the will. `boot` and `connection` tell a late will from a live board: one that is older than
    the last birth is ignored."""

    device: str
    boot: str
    connection: int
    presence: Presence
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


def supersedes(boot: str, connection: int, message: PresenceMessage) -> bool:
    """Whether a `lost` or `offline` message speaks of the connection that `(boot, connection)` names, or a later one
    of the same boot. One of another boot is a late will of an earlier life."""
    return message.boot == boot and message.connection >= connection


@dataclass(frozen=True)
class Telemetry:
    """A batch of samples of one boot, in the order of `seq`.

    Attributes:
        clock_synchronised: the board says that its clock is right.
        samples, gaps: what is sent, and what was dropped and will never be.
        acknowledged: the board holds nothing of this boot up to this number any more, because it was acknowledged.
            A collector that knows of less has lost it (a new store, or an old copy of one).
        sent_monotonic: seconds since the board started, when this message was made; None where the samples are of an
            earlier start of the board, whose seconds are not these.
    """

    device: str
    boot: str
    samples: tuple[Sample, ...]
    gaps: tuple[Gap, ...] = ()
    clock_synchronised: bool = False
    acknowledged: int = 0
    sent_monotonic: float | None = None
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = [sample.seq for sample in self.samples]
        if numbers != sorted(set(numbers)) or (numbers and numbers[0] < 1):
            raise DocumentInvalid(document="Telemetry", reason="`samples` must have growing numbers from 1")


class EventKind(str, enum.Enum):
    """What an event message tells."""

    UPDATE = "update"
    ALERT_BEGIN = "alert-begin"
    ALERT_END = "alert-end"
    STREAM_BREAK = "stream-break"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class EventMessage:
    """Something that happened, in the same stream of numbers as samples.

    Attributes:
        wall, monotonic: as a sample's. code: stable, like `trial.too-slow`. message: for people. facts: the numbers.
        gaps, acknowledged, clock_synchronised, sent_monotonic: as in `Telemetry`.
    """

    device: str
    boot: str
    seq: int
    wall: float
    monotonic: float
    kind: EventKind
    code: str
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    acknowledged: int = 0
    clock_synchronised: bool = False
    sent_monotonic: float | None = None
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ack:
    """Retained. The enrolled collector's word that it has committed all samples of `boot` up to `seq`.

    Attributes:
        collector: the enrolled collector's id; a board ignores every other.
        credit: how many unacknowledged batches the board may send.
    """

    device: str
    collector: str
    boot: str
    seq: int
    credit: int = 16
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredHint:
    """Retained. That there is a desired state: its TUF target and counter. A hint to fetch, trusted only by TUF."""

    target: str
    counter: int
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """What a trial measured of one model.

    Attributes:
        model, release: which.
        samples: golden inputs that were run.
        proof_within: part of the output values close enough to the proof run's, 0 to 1; None without a proof run.
        agreement, floor: with the float model; None for a sanity set.
        p50_ms, p95_ms: CPU time of one inference. memory_mb: what the model added.
        budget_p95_ms, budget_memory_mb: what they were judged by; None when they were reported only.
        budget_from: `release`, `replaced model` or `none`.
        passed: the verdict. code, message: why not.
    """

    model: str
    release: str
    samples: int
    passed: bool
    proof_within: float | None = None
    agreement: float | None = None
    floor: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    budget_p95_ms: float | None = None
    budget_memory_mb: float | None = None
    budget_from: str = "none"
    code: str | None = None
    message: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HistoryEntry:
    """How one desired state ended, and all that a person needs to know why.

    Attributes:
        counter, title: which, and what it asked for. replaced: title of what ran before; None where nothing did.
        state: the end. at: when, by the board's clock, seconds since 1970.
        verified: how it was verified, like `tuf root 1, targets 3`.
        code, message, hint: why it ended badly, or None.
        attempts, max_attempts: spent and allowed.
        checks: what its trial measured.
    """

    counter: int
    title: str
    state: UpdateState
    at: int
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    replaced: str | None = None
    verified: str | None = None
    attempts: int = 0
    max_attempts: int = 0
    checks: tuple[CheckResult, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrustedRole:
    """The highest version of a role of the repository's that a board verified, and when its signature ends, in
    seconds since 1970."""

    role: str
    version: int
    expires: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reported:
    """Retained and signed. What runs on a board, since when, verified how, and how the last update stands.

    Attributes:
        counter, state, nonce: of the last desired state that was acted on.
        current, previous, trial: generations; None where there is none.
        since: when `current` was confirmed, seconds since 1970.
        verified: how `current` was verified, like `tuf root 1, targets 3`.
        checks: what the last trial measured.
        code, message, hint: why it ended badly, or why the last push was refused, or None. code_at: since when.
        attempts, max_attempts: spent and allowed for the trial.
        wall: the board's clock. clock_floor: the latest time that it knows to have passed.
        clock_synchronised: the kernel says that something keeps the clock right; None where it was not asked.
        clock_doubt: why expiry may have been judged by a wrong time, in words; None when nothing says so.
        disk_free_bytes, disk_total_bytes: where the board's folder is.
        objects_bytes: what runtimes and bundles take there. reclaimable_bytes: the part of it that will be free when
            the generation before `current` is let go.
        trust: what the board knows of root, timestamp, snapshot, targets, desired and its own bin.
        contact: the board's clock when it was last shown a newer timestamp of the repository, and all that it leads to
            was verified; None: never. The same files shown again are no contact.
        history: the last ends, newest first, at most 20.
        request: text of the request that the board looked at last, so that who wrote it sees that it was.
        in_progress: an update has not reached an end.
    """

    device: str
    counter: int
    state: UpdateState
    nonce: str
    wall: int
    current: Generation | None = None
    previous: Generation | None = None
    trial: Generation | None = None
    since: int | None = None
    verified: str | None = None
    checks: tuple[CheckResult, ...] = ()
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    code_at: int | None = None
    attempts: int = 0
    max_attempts: int = 0
    clock_floor: int = 0
    clock_synchronised: bool | None = None
    clock_doubt: str | None = None
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    objects_bytes: int = 0
    reclaimable_bytes: int = 0
    trust: tuple[TrustedRole, ...] = ()
    contact: int | None = None
    history: tuple[HistoryEntry, ...] = ()
    request: str | None = None
    in_progress: bool = False
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def stale(self, now: int) -> bool:
        """Whether the board had contact, and had none for `STALE_AFTER_S` when its clock shows `now`."""
        return self.contact is not None and now - self.contact > STALE_AFTER_S


@dataclass(frozen=True)
class Signed:
    """An envelope: a report's bytes as text, with the device's signature over `signed_bytes`.

    Attributes:
        device: whose key signs.
        counter: of this device's signed messages, only grows; a receiver refuses what is not newer.
        payload: the message's canonical JSON, kept as text so that it is never serialised again.
        signature: Ed25519 in hexadecimal digits.
    """

    device: str
    counter: int
    payload: str
    signature: str
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


def signed_bytes(device: str, counter: int, payload: str) -> bytes:
    """What an envelope's signature is made over: the contract's name, the device, the counter and the payload, each
    with its length, so that no two different envelopes have the same bytes."""
    parts = [MESSAGE_SCHEMA.encode(), device.encode(), str(counter).encode(), payload.encode()]
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
