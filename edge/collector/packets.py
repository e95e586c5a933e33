"""MQTT 5 and 3.1.1 on the wire: what a collector says and hears, as bytes.

The rule: pure; a packet that is whole is taken apart once, a piece of one waits for its rest, and nothing that a broker
sends can hold more memory than `PACKET_BYTES`: of a longer message only the beginning is kept, which nobody can decode.
Why this is not paho: docs/decisions/0012-collector-reads-mqtt-itself.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge.telemetry.decoding import MESSAGE_BYTES

PACKET_BYTES = MESSAGE_BYTES + 128 * 1024
"""The longest message that the store looks at, its topic and properties."""
RECEIVE_MAXIMUM = 65_535
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
_QOS_1 = 0x02
_RETAIN = 0x01


class Version(enum.IntEnum):
    """The protocol's level in CONNECT."""

    MQTT_311 = 4
    MQTT_5 = 5


class Kind(enum.IntEnum):
    """The packets that a client hears."""

    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBACK = 9
    PINGRESP = 13
    DISCONNECT = 14


class Publish(NamedTuple):
    """A message; `packet_id` is 0 where it wants no acknowledgement. `retained`: it was there before we came."""

    topic: str
    payload: bytes
    packet_id: int
    retained: bool


class Control(NamedTuple):
    """Any other packet: its kind, and what follows its length."""

    kind: int
    body: bytes


class Malformed(Exception):
    """The bytes are no MQTT; the connection can't go on."""


REASONS: Mapping[int, str] = {
    0x80: "it gives no reason",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x84: "it does not speak this version of MQTT",
    0x85: "it does not like the client's id",
    0x86: "bad user name or password",
    0x87: "not authorised",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "this client is banned",
    0x8B: "it is shutting down",
    0x8D: "keepalive timeout",
    0x8E: "another client came with the same id",
    0x8F: "it does not like a topic filter",
    0x93: "too many messages were not acknowledged",
    0x95: "a packet was too large",
    0x97: "a quota is exceeded",
    0x98: "its administrator ended the connection",
    0x9C: "another server is to be used",
    0x9D: "the server has moved",
    0x9F: "connections come too fast",
}
_REASONS_311: Mapping[int, int] = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
UNSUPPORTED_VERSION = 0x84
_CONNACK_NUMBERS = {
    0x24: 1, 0x25: 1, 0x28: 1, 0x29: 1, 0x2A: 1, 0x13: 2, 0x21: 2, 0x22: 2, 0x11: 4, 0x27: 4,
}  # fmt: skip
"""Properties of a CONNACK that are numbers, and their bytes; the others are texts, 0x26 two of them."""
_SERVER_KEEP_ALIVE = 0x13
_USER_PROPERTY = 0x26


def reason(code: int) -> str:
    """A reason code in words."""
    return REASONS.get(code, f"reason 0x{code:02x}")


def connect(client_id: str, version: Version, *, keepalive_s: int) -> bytes:
    """The first packet: a session that begins empty, and in MQTT 5 how much we take at once."""
    properties = b""
    if version is Version.MQTT_5:
        limits = b"\x21" + _number(RECEIVE_MAXIMUM) + b"\x27" + PACKET_BYTES.to_bytes(4, "big")
        properties = _length(len(limits)) + limits
    clean_start = b"\x02"
    head = _text(b"MQTT") + bytes([version]) + clean_start + _number(keepalive_s)
    return _packet(0x10, head + properties + _text(client_id.encode()))


def subscribe(packet_id: int, filters: Sequence[str], version: Version) -> bytes:
    """Wish for what the filters let through, with acknowledgements."""
    properties = b"\x00" if version is Version.MQTT_5 else b""
    wishes = b"".join(_text(filter.encode()) + b"\x01" for filter in filters)
    return _packet(0x82, _number(packet_id) + properties + wishes)


def publish(topic: str, payload: bytes, version: Version, *, retained: bool) -> bytes:
    """A message without acknowledgement; a retained one waits with the broker for those who come later."""
    properties = b"\x00" if version is Version.MQTT_5 else b""
    return _packet(0x30 | (_RETAIN if retained else 0), _text(topic.encode()) + properties + payload)


def puback(packet_id: int) -> bytes:
    """A message is committed here."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


@dataclass(frozen=True)
class Welcome:
    """The broker's answer to CONNECT.

    Attributes:
        code: 0: come in; else of `REASONS`.
        keepalive_s: what it wants instead of what we said, or None.
    """

    code: int
    keepalive_s: int | None


def welcome(body: bytes, version: Version) -> Welcome:
    """A CONNACK.

    Raises:
        Malformed: it is none.
    """
    if len(body) < 2:
        raise Malformed("a CONNACK of less than two bytes")
    # A broker that does not speak MQTT 5 says so in the older words
    code = _REASONS_311.get(body[1], body[1])
    return Welcome(code, None if version is Version.MQTT_311 else _server_keepalive(body[2:]))


def refused(body: bytes, version: Version) -> list[int | None]:
    """A SUBACK: for each filter its refusal's code, or None."""
    begin = 2 + (_skip_properties(body, 2) if version is Version.MQTT_5 else 0)
    return [code if code >= 0x80 else None for code in body[begin:]]


class Reader:
    """Takes bytes as they come, gives whole packets."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 2
        self._skip = 0

    def take(self, data: bytes) -> list[Publish | Control]:
        """What is whole now.

        Raises:
            Malformed: that is no MQTT.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return []
        data = b"".join(self._pieces)
        found, at = self._packets(data)
        self._pieces = [data[at:]]
        self._held = len(data) - at
        return found

    def _packets(self, data: bytes) -> tuple[list[Publish | Control], int]:
        """All whole packets, and where the rest begins."""
        found: list[Publish | Control] = []
        at, end = 0, len(data)
        while end - at >= 2:
            length, body = data[at + 1], at + 2
            if length >= 0x80:
                length, body = _read_length(data, at + 1)
                if not body:
                    break
            stop = body + length
            if stop > end:
                if length <= PACKET_BYTES or end - body < PACKET_BYTES:
                    self._wanted = min(stop, body + PACKET_BYTES) - at
                    return found, at
                self._skip = stop - end
                stop = end
            head = data[at]
            if head >> 4 == Kind.PUBLISH:
                found.append(_message(head, data, body, min(stop, body + PACKET_BYTES), self._version))
            else:
                found.append(Control(head >> 4, data[body:stop]))
            at = stop
        self._wanted = 2
        return found, at


def _message(head: int, data: bytes, at: int, end: int, version: Version) -> Publish:
    """The PUBLISH whose body lies from `at` to `end`."""
    if head & 0x04:
        raise Malformed("a message of a quality of service that was not asked for")
    after = at + 2 + int.from_bytes(data[at : at + 2], "big")
    topic = data[at + 2 : after].decode("utf-8", "replace")
    packet_id = 0
    if head & _QOS_1:
        packet_id = int.from_bytes(data[after : after + 2], "big")
        after += 2
        if not packet_id:
            raise Malformed("a message that wants an acknowledgement and has no number")
    if version is Version.MQTT_5:
        after += 1 if after < end and data[after] == 0 else _skip_properties(data, after)
    if after > end:
        raise Malformed("a message that ends before its payload")
    return Publish(topic, data[after:end], packet_id, bool(head & _RETAIN))


def _skip_properties(body: bytes, at: int) -> int:
    """How many bytes the properties at `at` take, with their length."""
    length, begin = _read_length(body, at)
    if not begin or begin + length > len(body):
        raise Malformed("properties that are longer than their packet")
    return begin - at + length


def _server_keepalive(properties: bytes) -> int | None:
    """The only property of a CONNACK that binds us."""
    if not properties:
        return None
    at = _read_length(properties, 0)[1]
    end = _skip_properties(properties, 0)
    while at < end:
        name = properties[at]
        at += 1
        if size := _CONNACK_NUMBERS.get(name):
            if name == _SERVER_KEEP_ALIVE:
                return int.from_bytes(properties[at : at + size], "big")
            at += size
            continue
        for _ in range(2 if name == _USER_PROPERTY else 1):
            at += 2 + int.from_bytes(properties[at : at + 2], "big")
    return None


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """A length of up to four bytes, and where it ends; 0 where it is cut short."""
    value = 0
    for index in range(4):
        if at + index >= len(data):
            return 0, 0
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise Malformed("a length of more than four bytes")


def _length(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _number(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + _length(len(body)) + body
