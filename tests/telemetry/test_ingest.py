"""What is taken and what is refused: bad input leaves no trace but a count, and is never acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.contract.topics import TopicKind
from edge.telemetry import query
from edge.telemetry.decoding import MESSAGE_BYTES
from edge.telemetry.ingest import Received, StreamAck
from edge.telemetry.sequence import LARGEST
from edge.telemetry.store import Store
from tests.telemetry.boards import (
    BOOT,
    OTHER_BOOT,
    PI,
    ROCK,
    START,
    UPTIME_S,
    birth,
    event,
    model,
    open_store,
    received,
    sample,
    telemetry,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.sqlite") as store:
        yield store


def changed(message: Received, **fields: Any) -> Received:
    """The message with other values; a dotted name lies deeper."""
    document = json.loads(message.payload)
    for name, value in fields.items():
        *way, last = name.split("__")
        where = document
        for step in way:
            where = where[int(step)] if isinstance(where, list) else where[step]
        where[last] = value
    return Received(message.topic, json.dumps(document).encode(), message.rx)


def raw(payload: bytes, kind: TopicKind = TopicKind.TELEMETRY, device: str = PI) -> Received:
    return received(kind, payload, device=device)


WHOLE = telemetry([sample(1, models=[model(3)])])
STRANGER = "b-00000000000000ff"
BAD = {
    "no UTF-8": (raw(b'{"device":"\xff"}'), "document.invalid"),
    "no JSON": (raw(b"hello"), "document.invalid"),
    "nothing": (raw(b""), "document.invalid"),
    "a list": (raw(b"[]"), "document.invalid"),
    "nested deep": (raw(b"[" * 50_000), "document.invalid"),
    "wrong schema": (changed(WHOLE, schema="edge.link/1"), "document.invalid"),
    "future schema": (changed(WHOLE, schema="edge.message/2"), "document.invalid"),
    "huge": (raw(b" " * (MESSAGE_BYTES + 1)), "document.too-large"),
    "huge event": (raw(b" " * (MESSAGE_BYTES + 1), TopicKind.EVENT), "document.too-large"),
    "of another device": (changed(WHOLE, device=ROCK), "telemetry.message-foreign"),
    "event of another device": (changed(event(1), device=ROCK), "telemetry.message-foreign"),
    "birth of another device": (changed(birth(), device=ROCK), "telemetry.message-foreign"),
    "an unknown device": (telemetry([1], device=STRANGER), "device.unknown"),
    "NaN": (raw(WHOLE.payload.replace(b'"queue":0', b'"queue":NaN')), "document.invalid"),
    "Infinity": (raw(WHOLE.payload.replace(b'"wall":', b'"wall":1e999,"w":')), "document.invalid"),
    "a key twice": (raw(WHOLE.payload.replace(b'"seq":1', b'"seq":1,"seq":1')), "document.invalid"),
    "a number as text": (changed(WHOLE, samples__0__seq="1"), "document.invalid"),
    "number zero": (changed(WHOLE, samples__0__seq=0), "document.invalid"),
    "number 2**63": (changed(WHOLE, samples__0__seq=2**63), "document.invalid"),
    "event number 2**63": (changed(event(1), seq=2**63), "document.invalid"),
    "acknowledged 2**63": (changed(WHOLE, acknowledged=2**63), "document.invalid"),
    "a gap to 2**70": (changed(WHOLE, gaps=[{"first": 1, "last": 2**70}]), "document.invalid"),
    "a counter of 2**70": (changed(WHOLE, samples__0__models__0__requests=2**70), "document.invalid"),
    "a gap backwards": (changed(WHOLE, gaps=[{"first": 5, "last": 3}]), "document.invalid"),
    "a bucket that is none": (
        changed(WHOLE, samples__0__models__0__latency_ms={"counts": {"9999": 1}, "total": 1}),
        "document.invalid",
    ),
    "a boot that is none": (changed(WHOLE, boot="../../../etc"), "document.invalid"),
    "numbers that shrink": (
        changed(telemetry([1, 2]), samples__1__seq=1),
        "document.invalid",
    ),
    "half a character": (raw(WHOLE.payload.replace(b"digits@1", b"\\ud800")), "document.invalid"),
    "a topic of others": (Received("zigbee2mqtt/lamp", b"{}", START), "name.invalid"),
    "a topic with another partition": (
        Received(WHOLE.topic.replace("/kitchen-abcdef/", "/kitchen-abcdef/zz/", 1), WHOLE.payload, START),
        "name.invalid",
    ),
    "a kind that is not stored": (raw(b"{}", TopicKind.ACK), "name.invalid"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_and_counted_and_never_acknowledged(store: Store, what: str) -> None:
    message, code = BAD[what]
    done = store.ingest([message, telemetry([1], device=ROCK), message])
    assert [refused.error.code for refused in done.refused] == [code, code]
    assert done.acks == (StreamAck(ROCK, BOOT, 1, START + 1),)
    assert [stored.device for stored in query.samples(store)] == [ROCK]
    assert [stream.device for stream in query.streams(store)] == [ROCK]
    (counted,) = query.refused(store)
    assert (counted.code, counted.count) == (code, 2)


def test_what_is_refused_from_strangers_does_not_grow_with_their_names(store: Store) -> None:
    store.ingest([telemetry([1], device=f"b-{number:016x}") for number in range(100, 200)])
    (counted,) = query.refused(store)
    assert (counted.device, counted.count) == (None, 100)


def test_what_is_committed_is_acknowledged_once_a_stream(store: Store) -> None:
    done = store.ingest([telemetry([1, 2]), telemetry([3])])
    assert done.acks == (StreamAck(PI, BOOT, 3, START + 3),)
    assert (done.stored, done.duplicates, done.holes, done.refused) == (3, 0, 0, ())


def test_a_replayed_message_is_acknowledged_again_and_stored_once(store: Store) -> None:
    store.ingest([telemetry([1, 2])])
    again = store.ingest([telemetry([1, 2]), telemetry([2, 3])])
    assert again.acks == (StreamAck(PI, BOOT, 3, START + 3),)
    assert (again.stored, again.duplicates) == (1, 3)


def test_a_hole_is_not_taken_and_the_old_mark_is_said_again(store: Store) -> None:
    store.ingest([telemetry([1])])
    done = store.ingest([telemetry([3, 4])])
    assert (done.acks[0].seq, done.stored, done.holes) == (1, 0, 1)


def test_a_boot_that_goes_back_goes_on_where_it_was(store: Store) -> None:
    store.ingest([telemetry([1, 2])])
    store.ingest([telemetry([1], boot=OTHER_BOOT)])
    done = store.ingest([telemetry([1, 2, 3])])
    assert (done.acks[0].boot, done.acks[0].seq, done.stored, done.duplicates) == (BOOT, 3, 1, 2)


def test_samples_and_events_share_one_sequence(store: Store) -> None:
    done = store.ingest([telemetry([1]), event(2), telemetry([3])])
    assert (done.acks[0].seq, done.stored) == (3, 3)
    assert [stored.seq for stored in query.events(store)] == [2]


def test_a_new_store_says_what_it_lacks(store: Store) -> None:
    store.ingest([telemetry([101], acknowledged=100)])
    (missing,) = query.missing(store)
    assert (missing.first, missing.last, missing.kind) == (1, 100, "break")
    assert query.streams(store)[0].breaks == 100


def test_the_largest_number_ends_a_stream_and_no_other(store: Store) -> None:
    done = store.ingest([telemetry([], acknowledged=LARGEST - 1), telemetry([sample(LARGEST, second=1)])])
    assert (done.acks[0].seq, done.stored) == (LARGEST, 1)
    assert store.ingest([telemetry([1], boot=OTHER_BOOT)]).stored == 1


def test_what_a_newer_board_adds_is_no_obstacle(store: Store) -> None:
    newer = changed(WHOLE, samples__0__new={"a": [1, {"b": None}]}, later="x")
    assert store.ingest([newer]).stored == 1


@pytest.mark.parametrize(
    ("why", "fields", "rx", "at"),
    [
        ("its seconds and our clock", {"sent_monotonic": UPTIME_S + 60}, 60.5, 10.5),
        ("a board that lives in 1970", {"sent_monotonic": UPTIME_S + 60, "wall": -START}, 60.5, 10.5),
        ("a board that lives in 2100", {"sent_monotonic": UPTIME_S + 60, "wall": START}, 60.5, 10.5),
        ("a boot of before a power cut, clock right", {"clock_synchronised": True, "sent_monotonic": None}, 60, 10),
        ("the same, clock not known to be right", {"sent_monotonic": None}, 60, 60),
        ("the same, right clock in our future", {"clock_synchronised": True, "sent_monotonic": None}, 4, 4),
    ],
)  # fmt: skip
def test_when_a_sample_was_is_told_by(
    store: Store, why: str, fields: dict[str, Any], rx: float, at: float
) -> None:
    fields = dict(fields)
    wall = fields.pop("wall", 0.0) + START + 10
    message = changed(telemetry([sample(1, second=10)], **fields, rx=START + rx), samples__0__wall=wall)
    store.ingest([message])
    (stored,) = query.samples(store)
    assert stored.at == START + at
    assert (stored.wall, stored.rx, stored.monotonic) == (wall, START + rx, UPTIME_S + 10)
