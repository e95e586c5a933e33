"""Messages of boards into the store: one transaction for a batch, and what may be acknowledged after it.

The rule: nothing is acknowledged before it is committed, and where a batch can't be committed nothing of it happened. A
message is taken whole or refused whole; what is refused is counted by its error's code, and never acknowledged.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract import codec, topics
from agent.contract.errors import DeviceUnknown, DocumentInvalid, EdgeError, MessageForeign, NameInvalid
from agent.contract.messages import Birth, EventMessage, PresenceMessage, Signed, Telemetry
from agent.contract.topics import Topic, TopicKind
from edge.telemetry import clock
from edge.telemetry.boards import Boards, Known, KnownDevice
from edge.telemetry.body import pack
from edge.telemetry.clock import Offset
from edge.telemetry.decoding import MESSAGE_BYTES, check_numbers, check_schema, decode_telemetry
from edge.telemetry.schema import told
from edge.telemetry.sequence import Decision, decide
from edge.telemetry.streams import Stream, Streams

TOPICS_KEPT = 100_000
_BOOT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the broker handed it out. `rx`: when, seconds since 1970. `retained`: the broker had kept it."""

    topic: str
    payload: bytes
    rx: float
    retained: bool = False


@dataclass(frozen=True, slots=True)
class StreamAck:
    """All items of the boot up to `seq` are committed; to be told to the board. `newest_at`: when the newest sample
    among them was measured, seconds since 1970; None where there is none."""

    device: str
    boot: str
    seq: int
    newest_at: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that was not taken, and why."""

    topic: str
    error: EdgeError


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of a batch.

    Attributes:
        acks: one for each stream that it spoke of.
        refused: messages that were not taken.
        stored: samples and events that are new.
        duplicates: those that were there already.
        holes: messages that came before what they follow.
    """

    acks: tuple[StreamAck, ...]
    refused: tuple[Refused, ...]
    stored: int
    duplicates: int
    holes: int


class _Batch:
    """Rows on their way into the file, and counts."""

    def __init__(self) -> None:
        self.samples: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.missing: list[tuple[object, ...]] = []
        self.refused: list[tuple[Refused, str, float]] = []
        self.touched: dict[int, Stream] = {}
        self.duplicates = self.holes = 0


class Intake:
    """The writer's side of a store.

    Args:
        connection: of the store, for this object alone while it takes a batch.
        path: of the store, for errors.
        known: called for each message; it should answer from memory.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, known: Known) -> None:
        self._connection = connection
        self._path = path
        self._known = known
        self._streams = Streams(connection)
        self._boards = Boards(connection)
        self._topics: dict[str, Topic] = {}
        self._next_sample: int | None = None

    def take(self, messages: Sequence[Received]) -> Ingested:
        """Take a batch: all that it holds is committed when this returns.

        Raises:
            StoreUnusable: it can't be written (full, torn, taken away); nothing of the batch happened.
        """
        batch = _Batch()
        try:
            with told(self._path):
                for message in messages:
                    self._take(message, batch)
                self._commit(batch)
        except BaseException:
            self._forget()
            raise
        return Ingested(
            acks=tuple(
                StreamAck(s.device, s.boot, s.high_water, s.newest_at) for s in batch.touched.values()
            ),
            refused=tuple(refused for refused, _, _ in batch.refused),
            stored=len(batch.samples) + len(batch.events),
            duplicates=batch.duplicates,
            holes=batch.holes,
        )

    def _take(self, message: Received, batch: _Batch) -> None:
        device = ""
        try:
            topic = self._topic(message.topic)
            known = self._known(topic.device)
            if known is None:
                raise DeviceUnknown(device=topic.device, suggestion="")
            device = known.device_id
            _TAKERS[topic.kind](self, message, known, batch)
        except EdgeError as error:
            batch.refused.append((Refused(message.topic, error), device, message.rx))

    def _topic(self, text: str) -> Topic:
        topic = self._topics.get(text)
        if topic is None:
            topic = topics.parse(text)
            if topic.kind not in _TAKERS:
                raise NameInvalid(what="topic", name=text[:200], rule="one whose messages are stored")
            if len(self._topics) >= TOPICS_KEPT:
                self._topics.clear()
            self._topics[text] = topic
        return topic

    def _telemetry(self, received: Received, device: KnownDevice, batch: _Batch) -> None:
        message = decode_telemetry(received.payload)
        _check(message, device)
        samples = message.samples
        stream = self._streams.get(message.device, message.boot)
        numbers = [sample.seq for sample in samples]
        decision, offset = _decide(stream, message, numbers, received.rx)
        bodies = [pack(samples[position]) for position in decision.taken]
        rows = []
        for body, position in zip(bodies, decision.taken, strict=True):
            sample = samples[position]
            at = clock.measured_at(
                monotonic=sample.monotonic, wall=sample.wall, rx=received.rx, offset=offset,
                clock_synchronised=message.clock_synchronised,
            )  # fmt: skip
            stream.newest, stream.newest_at = self._sample_id(), at
            rows.append(
                (stream.newest, stream.id, sample.seq, received.rx, at, sample.wall, sample.monotonic, body)
            )
        batch.samples += rows
        stream.samples += len(rows)
        _settle(stream, decision, offset, received.rx, batch)

    def _event(self, received: Received, device: KnownDevice, batch: _Batch) -> None:
        message = codec.decode(EventMessage, received.payload, limit_bytes=MESSAGE_BYTES)
        check_numbers(message, document="EventMessage")
        _check(message, device)
        stream = self._streams.get(message.device, message.boot)
        decision, offset = _decide(stream, message, [message.seq], received.rx)
        if decision.taken:
            at = clock.measured_at(
                monotonic=message.monotonic, wall=message.wall, rx=received.rx, offset=offset,
                clock_synchronised=message.clock_synchronised,
            )  # fmt: skip
            facts = json.dumps(codec.to_plain(message.facts), ensure_ascii=False)
            batch.events.append(
                (
                    stream.id, message.seq, received.rx, at, message.wall, message.monotonic,
                    message.kind.value, message.code, message.message, facts,
                )
            )  # fmt: skip
            stream.events += 1
        _settle(stream, decision, offset, received.rx, batch)

    def _birth(self, received: Received, device: KnownDevice, batch: _Batch) -> None:
        birth = codec.decode(Birth, received.payload, limit_bytes=MESSAGE_BYTES)
        _check(birth, device)
        self._boards.born(birth, received.payload.decode(), heard=_heard(received))

    def _state(self, received: Received, device: KnownDevice, batch: _Batch) -> None:
        message = codec.decode(PresenceMessage, received.payload, limit_bytes=MESSAGE_BYTES)
        _check(message, device)
        self._boards.present(message, received.payload.decode(), heard=_heard(received))

    def _reported(self, received: Received, device: KnownDevice, batch: _Batch) -> None:
        signed = codec.decode(Signed, received.payload, limit_bytes=MESSAGE_BYTES)
        check_schema(signed.schema, document="Signed")
        text = received.payload.decode()
        self._boards.reported(signed, text, device, rx=received.rx, heard=_heard(received))

    def _sample_id(self) -> int:
        if self._next_sample is None:
            self._next_sample = self._connection.execute(
                "SELECT coalesce(max(id), 0) FROM samples"
            ).fetchone()[0]
        self._next_sample += 1
        return self._next_sample

    def _commit(self, batch: _Batch) -> None:
        write = self._connection.executemany
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            write("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)", batch.samples)
            write("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch.events)
            write("INSERT INTO missing VALUES (?, ?, ?, ?, ?)", batch.missing)
            write(
                "INSERT INTO refused VALUES (?, ?, 1, ?, ?) ON CONFLICT(device, code) DO UPDATE SET"
                " count = count + 1, message = excluded.message, rx = excluded.rx",
                [
                    (device, refused.error.code, str(refused.error)[:500], rx)
                    for refused, device, rx in batch.refused
                ],
            )
            self._streams.write(batch.touched.values())
            self._boards.write()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._boards.changed.clear()

    def _forget(self) -> None:
        self._streams.forget()
        self._boards.forget()
        self._next_sample = None


_TAKERS: dict[TopicKind, Callable[[Intake, Received, KnownDevice, _Batch], None]] = {
    TopicKind.TELEMETRY: Intake._telemetry,
    TopicKind.EVENT: Intake._event,
    TopicKind.BIRTH: Intake._birth,
    TopicKind.STATE: Intake._state,
    TopicKind.REPORTED: Intake._reported,
}


def _check(message: Telemetry | EventMessage | Birth | PresenceMessage, device: KnownDevice) -> None:
    name = type(message).__name__
    check_schema(message.schema, document=name)
    if message.device != device.device_id:
        raise MessageForeign(device=device.device_id, found=message.device[:100])
    if not _BOOT.fullmatch(message.boot):
        raise DocumentInvalid(document=name, reason="`boot` must be 16 hexadecimal digits")


def _decide(
    stream: Stream, message: Telemetry | EventMessage, numbers: list[int], rx: float
) -> tuple[Decision, Offset | None]:
    """The decision on a message's numbers, and the boot's clock with it."""
    gaps = [(gap.first, gap.last) for gap in message.gaps] if message.gaps else ()
    decision = decide(stream.high_water, numbers, gaps=gaps, acknowledged=message.acknowledged)
    return decision, clock.follow(stream.offset, rx=rx, sent_monotonic=message.sent_monotonic)


def _settle(stream: Stream, decision: Decision, offset: Offset | None, rx: float, batch: _Batch) -> None:
    """The stream after a message, and what the message says to be missing."""
    stream.high_water = decision.high_water
    stream.offset = offset
    stream.heard = rx
    for first, last in decision.gaps:
        stream.gaps += last - first + 1
        batch.missing.append((stream.id, first, last, "gap", rx))
    if decision.broken is not None:
        first, last = decision.broken
        stream.breaks += last - first + 1
        batch.missing.append((stream.id, first, last, "break", rx))
    batch.touched[stream.id] = stream
    batch.duplicates += decision.duplicates
    batch.holes += decision.hole


def _heard(received: Received) -> float | None:
    return None if received.retained else received.rx
