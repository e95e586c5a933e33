from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.codec import encode
from agent.contract.messages import Ack
from agent.contract.topics import TopicKind, topic
from edge.collector import packets
from edge.collector.acks import Acks
from edge.collector.packets import Control, Kind, Malformed, Publish, Reader, Version
from edge.telemetry.decoding import MESSAGE_BYTES
from edge.telemetry.ingest import StreamAck

VERSIONS = st.sampled_from(Version)
TOPICS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
MESSAGES = st.lists(
    st.tuples(TOPICS, st.binary(max_size=300), st.integers(0, 65_535), st.booleans()), max_size=20
)


def broker_says(topic: str, payload: bytes, packet_id: int, retained: bool, version: Version) -> bytes:
    """A PUBLISH as the specification has it, with a property that means nothing to us."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name
    body += packet_id.to_bytes(2, "big") if packet_id else b""
    body += b"\x02\x01\x01" if version is Version.MQTT_5 else b""
    body += payload
    head = 0x30 | (0x02 if packet_id else 0) | retained
    length, written = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        written.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([head]) + bytes(written) + body


@given(MESSAGES, VERSIONS, st.data())
def test_messages_are_the_same_however_the_bytes_are_cut(
    messages: list[tuple[str, bytes, int, bool]], version: Version, data: st.DataObject
) -> None:
    stream = b"".join(broker_says(*message, version) for message in messages)
    reader, found, at = Reader(version), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 200))
        found += reader.take(stream[at : at + size])
        at += size
    assert found == [Publish(*message) for message in messages]


@given(st.binary(max_size=400), VERSIONS)
def test_any_bytes_are_packets_or_malformed(stream: bytes, version: Version) -> None:
    try:
        Reader(version).take(stream)
    except Malformed:
        return


@pytest.mark.parametrize("version", Version)
def test_of_a_message_that_is_too_long_the_beginning_is_kept_and_the_next_one_is_whole(
    version: Version,
) -> None:
    huge = broker_says("a/huge", b"x" * (packets.PACKET_BYTES * 2), 7, False, version)
    stream = huge + broker_says("a/next", b"small", 8, False, version)
    reader, found, most = Reader(version), [], 0
    for at in range(0, len(stream), 65_536):
        found += reader.take(stream[at : at + 65_536])
        most = max(most, reader._held)
    assert [message.topic for message in found] == ["a/huge", "a/next"]
    assert [message.packet_id for message in found] == [7, 8]
    assert MESSAGE_BYTES < len(found[0].payload) <= packets.PACKET_BYTES
    assert found[1].payload == b"small"
    assert most <= packets.PACKET_BYTES + 65_536


def test_a_too_long_message_in_one_piece_is_cut_too() -> None:
    stream = broker_says("a", b"x" * (packets.PACKET_BYTES + 10), 1, False, Version.MQTT_311)
    (found,) = Reader(Version.MQTT_311).take(stream)
    assert isinstance(found, Publish)
    assert len(found.payload) < packets.PACKET_BYTES


def test_the_brokers_wish_for_a_shorter_keepalive_is_found_among_its_properties() -> None:
    properties = b"\x12\x00\x02id" + b"\x26\x00\x01a\x00\x01b" + b"\x27\x00\x00\x10\x00" + b"\x13\x00\x05"
    body = b"\x00\x00" + bytes([len(properties)]) + properties
    assert packets.welcome(body, Version.MQTT_5) == packets.Welcome(0, 5)
    assert packets.welcome(b"\x00\x00\x00", Version.MQTT_5) == packets.Welcome(0, None)


def test_an_old_broker_and_a_new_one_refuse_a_version_alike() -> None:
    old, new = b"\x00\x01", b"\x00\x84\x00"
    for body, version in ((old, Version.MQTT_311), (new, Version.MQTT_5), (old, Version.MQTT_5)):
        assert packets.welcome(body, version).code == packets.UNSUPPORTED_VERSION


def test_each_filter_has_its_answer() -> None:
    assert packets.refused(b"\x00\x01\x01\x80", Version.MQTT_311) == [None, 0x80]
    assert packets.refused(b"\x00\x01\x00\x87\x01", Version.MQTT_5) == [0x87, None]


@pytest.mark.parametrize(
    "body",
    [
        b"\x32\x05\x00\x09ab\x00",
        b"\x32\x04\x00\x01a\x00",
        b"\x34\x06\x00\x01a\x00\x01x",
        b"\x30\xff\xff\xff\xff\xff",
    ],
)
def test_what_is_cut_short_or_not_asked_for_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(Version.MQTT_5).take(body)


def test_other_packets_are_told_apart() -> None:
    assert Reader(Version.MQTT_5).take(b"\xd0\x00\xe0\x01\x8e") == [
        Control(Kind.PINGRESP, b""),
        Control(Kind.DISCONNECT, b"\x8e"),
    ]


@given(st.integers(0, 2**53))
def test_a_fast_acknowledgement_is_the_contracts(seq: int) -> None:
    device, boot, collector = "b-00ff00ff00ff00ff", "00ff00ff00ff00ff", "c-0123456789abcdef"
    acks = Acks("demo-abcdef", collector)
    where, what = acks.message(StreamAck(device, boot, seq))
    assert where == topic("demo-abcdef", device, TopicKind.ACK)
    assert what == encode(Ack(device=device, collector=collector, boot=boot, seq=seq))
    assert acks.message(StreamAck(device, boot, seq)) == (where, what)
