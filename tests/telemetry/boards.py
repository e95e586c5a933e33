"""Boards as the tests need them: what they would send, and a store that knows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.contract.codec import encode
from agent.contract.messages import (
    Birth,
    EventKind,
    EventMessage,
    Presence,
    PresenceMessage,
    ServedModel,
    Telemetry,
)
from agent.contract.samples import BoardCounters, Gap, ModelCounters, Sample
from agent.contract.sketch import of
from agent.contract.topics import TopicKind, topic
from edge.telemetry.boards import KnownDevice
from edge.telemetry.ingest import Received
from edge.telemetry.store import Store

FLEET = "kitchen-abcdef"
BOOT, OTHER_BOOT = "0123456789abcdef", "fedcba9876543210"
PI, ROCK = "b-0000000000000001", "b-0000000000000002"
START = 1_700_000_000.0
"""By this machine's clock; boards here were switched on `UPTIME_S` before."""
UPTIME_S = 1000.0
KNOWN = {
    PI: KnownDevice(name="pi", device_id=PI, public_key=None),
    ROCK: KnownDevice(name="rock", device_id=ROCK, public_key=None),
}


def open_store(path: Path, known: dict[str, KnownDevice] | None = None) -> Store:
    """A store for writing that knows the boards above."""
    return Store.open(path, writer=True, known=(KNOWN if known is None else known).get)


def usual_board(**changes: object) -> BoardCounters:
    usual = BoardCounters(
        cpu_s=100.0, agent_cpu_s=10.0, memory_used_bytes=500_000_000, memory_total_bytes=4_000_000_000,
        agent_memory_bytes=80_000_000, disk_free_bytes=9_000_000_000, uptime_s=UPTIME_S, temperature_c=51.5,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def model(
    requests: int, *, release: str = "digits@1", latency_ms: float = 5.0, failed: int = 0
) -> ModelCounters:
    """A model that answered so many requests, all as slow."""
    answered = requests - failed
    return ModelCounters(
        name=release.partition("@")[0], release=release, requests=requests,
        errors={"engine.failed": failed} if failed else {}, batches=answered, queue=0, compute_s=answered * 0.002,
        latency_ms=of([latency_ms] * answered), compute_ms=of([2.0] * answered),
    )  # fmt: skip


def sample(
    seq: int,
    *,
    second: float | None = None,
    models: Iterable[ModelCounters] = (),
    board: BoardCounters | None = None,
) -> Sample:
    """Measured `second` seconds (default: `seq`) after START; half a core was busy meanwhile."""
    second = float(seq) if second is None else second
    usual = usual_board(cpu_s=100 + second / 2, uptime_s=UPTIME_S + second)
    return Sample(
        seq=seq, wall=START + second, monotonic=UPTIME_S + second, board=board or usual, models=tuple(models),
    )  # fmt: skip


def telemetry(
    samples: Sequence[Sample | int],
    *,
    device: str = PI,
    boot: str = BOOT,
    gaps: Sequence[tuple[int, int]] = (),
    rx: float | None = None,
    **fields: object,
) -> Received:
    """A batch as it comes; numbers stand for samples."""
    whole = tuple(sample(one) if isinstance(one, int) else one for one in samples)
    sent = whole[-1].monotonic if whole else UPTIME_S
    message = Telemetry(
        **{
            "device": device, "boot": boot, "samples": whole, "sent_monotonic": sent,
            "gaps": tuple(Gap(*gap) for gap in gaps), **fields,
        }
    )  # fmt: skip
    return received(
        TopicKind.TELEMETRY, encode(message), device=device, rx=START + sent - UPTIME_S if rx is None else rx
    )


def event(
    seq: int,
    *,
    device: str = PI,
    boot: str = BOOT,
    gaps: Sequence[tuple[int, int]] = (),
    rx: float | None = None,
    **fields: object,
) -> Received:
    """An event as it comes, `seq` seconds after START."""
    message = EventMessage(
        **{
            "device": device, "boot": boot, "seq": seq, "wall": START + seq, "monotonic": UPTIME_S + seq,
            "kind": EventKind.UPDATE, "code": "trial.began", "sent_monotonic": UPTIME_S + seq,
            "gaps": tuple(Gap(*gap) for gap in gaps), **fields,
        }
    )  # fmt: skip
    return received(TopicKind.EVENT, encode(message), device=device, rx=START + seq if rx is None else rx)


def birth(
    *, device: str = PI, boot: str = BOOT, connection: int = 1, rx: float = START, retained: bool = False
) -> Received:
    message = Birth(
        device=device, boot=boot, connection=connection, agent_version="1.0", contracts=(1,),
        profile="raspberry-pi-5", hardware={}, models=(ServedModel("digits", "digits@1", "ab" * 32),),
    )  # fmt: skip
    return received(TopicKind.BIRTH, encode(message), device=device, rx=rx, retained=retained)


def state(
    presence: Presence,
    *,
    device: str = PI,
    boot: str = BOOT,
    connection: int = 1,
    rx: float = START,
    retained: bool = False,
) -> Received:
    message = PresenceMessage(device, boot, connection, presence)
    return received(TopicKind.STATE, encode(message), device=device, rx=rx, retained=retained)


def received(
    kind: TopicKind, payload: bytes, *, device: str = PI, rx: float = START, retained: bool = False
) -> Received:
    return Received(topic(FLEET, device, kind), payload, rx, retained)
