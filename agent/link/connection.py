"""One connection to a broker, over TLS: made, used, ended, and never made again. paho is known here alone.

The rule: a connection begins clean and ends with what it held; what must arrive lies in the outbox and is sent again
on the next one. paho's own queue holds no more than the windows of those who send here let through. Finding the broker
and the handshake happen in a short-lived thread, since both may take long; everything else in the thread that calls.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.contract.codec import MAX_DOCUMENT_BYTES
from agent.link.message import Message, Reply
from agent.own_certificate import load_own_certificate

CONNECT_S = 10.0
"""For the TCP connection, and for the handshake."""
SILENCE_S = 3.0
"""A broker that does not answer CONNECT for so long does not speak this MQTT."""
STUCK_S = 30.0
"""A broker that answers, and confirms nothing for so long, has forgotten us."""
KEEPALIVE_S = 20
LONGEST_PACKET_BYTES = MAX_DOCUMENT_BYTES + 64 * 1024
"""What may come at once; the rest is for a topic and properties."""
MQTT_5, MQTT_3 = mqtt.MQTTv5, mqtt.MQTTv311
LOG = logging.getLogger("agent.link")
_TAKEN_OVER = 0x8E
_NOT_ALLOWED = frozenset({4, 5, 0x86, 0x87, 0x8A})
"""Refusals that an older MQTT would meet too: who is not let in, is not let in."""


@dataclass(frozen=True)
class Way:
    """How a broker is reached.

    Attributes:
        host, port: where. server_name: the name that its certificate must have.
        ca: PEM of its authority; None for the system's own.
        certificate: PEM of this board's certificate. key: file of its key.
    """

    host: str
    port: int
    server_name: str
    ca: str | None
    certificate: str
    key: Path


@dataclass(frozen=True)
class Will:
    """What the broker says for a board that is gone."""

    topic: str
    payload: bytes


class Connection:
    """A connection that is being made, is there, or is lost.

    Args:
        way: to the broker. device: whose. protocol: `MQTT_5` or `MQTT_3`. will: see `Will`.
        wake: called from another thread when the making has ended.

    Attributes:
        ready: the broker has let us in.
        listening: the subscription stands that it needs.
        unconfirmed: messages that the broker has not confirmed.
        lost: why it is gone, or None.
        refused: the broker was reached, and does not let us in with this protocol; another may be tried.
        taken_over: another client came with the same name.
        received: messages that came, confirmed: numbers of those that the broker has; oldest first, and whoever takes
            them empties it.
    """

    def __init__(self, way: Way, *, device: str, protocol: int, will: Will, wake: Callable[[], None]) -> None:
        self.protocol = protocol
        self.ready = self.listening = self.refused = self.taken_over = False
        self.unconfirmed = 0
        self.lost: str | None = None
        self.received: list[Message] = []
        self.confirmed: list[int] = []
        self._way = way
        self._wake = wake
        self._asked: float | None = None
        self._progress = 0.0
        self._needed: int | None = None
        session: dict[str, Any] = {} if protocol == MQTT_5 else {"clean_session": True}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=device,
            protocol=protocol,  # type: ignore[arg-type]
            reconnect_on_failure=False,
            **session,
        )
        self._complaints = _Complaints("paho")
        self._client.enable_logger(self._complaints)
        self._client.connect_timeout = CONNECT_S
        self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        threading.Thread(target=self._make, name="connecting", daemon=True).start()

    def _make(self) -> None:
        way, options = self._way, _session() if self.protocol == MQTT_5 else {}
        try:
            self._client.tls_set_context(_context(way))
            self._client.connect(way.host, way.port, KEEPALIVE_S, **options)
            if self.lost is None:
                self._asked = time.monotonic()
            else:  # given up meanwhile
                self._close()
        except (OSError, ValueError) as error:
            self.lost = f"{way.host} port {way.port}: {error}"
        self._wake()

    # --- used by the thread that owns it

    @property
    def descriptor(self) -> int | None:
        """What to wait for; None while it is being made."""
        if self._asked is None or self.lost is not None:
            return None
        connected = self._client.socket()
        return connected.fileno() if connected is not None else None

    @property
    def wants_write(self) -> bool:
        return self._client.want_write()

    def turn(self, *, readable: bool, writable: bool) -> None:
        """Do what there is to do; never waits."""
        if self._asked is None or self.lost is not None:
            return
        codes = []
        if readable:
            codes.append(self._read())
            while not any(codes) and self._buffered():
                codes.append(self._read())
        if writable:
            codes.append(self._client.loop_write())
            self._progress = time.monotonic()
        codes.append(self._client.loop_misc())
        bad = next((code for code in codes if code != mqtt.MQTT_ERR_SUCCESS), None)
        if bad is not None:
            self._lose(mqtt.error_string(bad))
        else:
            self._check_silence(time.monotonic(), self._asked)

    def _check_silence(self, now: float, asked: float) -> None:
        """Let go of a broker that took the connection, and then does not do what it is there for."""
        if not self.ready and now - asked > SILENCE_S:
            self._lose("it does not answer")
        elif not self.listening and now - asked > STUCK_S:
            self._lose("it takes no subscription")
        elif self.unconfirmed and now - self._progress > STUCK_S:
            self._lose("it confirms nothing")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send at least once, where the connection holds."""
        if not self.unconfirmed:
            self._progress = time.monotonic()
        self._published(self._client.publish(topic, payload, qos=1, retain=retain))

    def answer(self, reply: Reply) -> int:
        """Send an answer, as `publish`; the number under which it is confirmed."""
        if not self.unconfirmed:
            self._progress = time.monotonic()
        properties = _properties(reply) if self.protocol == MQTT_5 else None
        info = self._client.publish(reply.topic, reply.payload, qos=1, properties=properties)
        self._published(info)
        return info.mid

    def _published(self, info: mqtt.MQTTMessageInfo) -> None:
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            self.unconfirmed += 1
        else:
            self._lose(mqtt.error_string(info.rc))

    def subscribe(self, topic: str) -> None:
        """Hear a retained topic, without which the connection is none. What is lost on the way is followed by the next,
        so nothing is confirmed."""
        self._needed = self._client.subscribe(topic, qos=0)[1]

    def subscribe_requests(self, filter: str) -> None:
        """Hear requests; where the broker does not let this board, it goes on without."""
        self._client.subscribe(filter, qos=1)

    def end(self) -> None:
        """Say goodbye to the broker where it is there, so that it keeps the will to itself, and let go of it."""
        if self._asked is not None and self.lost is None:
            self._client.disconnect()
        self._lose("ended")
        if self._asked is not None:
            self._close()

    def _buffered(self) -> bool:
        """TLS may hold what was read already, of which the socket tells nothing."""
        connected = self._client.socket()
        return isinstance(connected, ssl.SSLSocket) and connected.pending() > 0

    def _read(self) -> MQTTErrorCode:
        """Take what is there, up to one packet."""
        try:
            code = self._client.loop_read()
        except (MQTTException, ValueError, IndexError, struct.error) as error:
            self._lose(f"it sends what is no MQTT: {error}")
            return mqtt.MQTT_ERR_PROTOCOL
        # paho takes any length, and MQTT 3.1.1 can't say what is too long.
        length = self._client._in_packet["remaining_length"]
        if length > LONGEST_PACKET_BYTES:
            self._lose(f"it sends a message of {length} bytes")
            return mqtt.MQTT_ERR_PAYLOAD_SIZE
        return code

    def _close(self) -> None:
        connected = self._client.socket()
        if connected is not None:
            connected.close()

    def _lose(self, reason: str) -> None:
        if self.lost is None:
            self.refused = self.refused or not self.ready
            self.lost = self._complaints.last or reason

    # --- called by paho

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.lost = f"it refuses: {reason}"
            self.refused = reason.value not in _NOT_ALLOWED
        else:
            self.ready = True

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.taken_over = self.taken_over or reason.value == _TAKEN_OVER
        self._lose(str(reason))

    def _on_subscribe(self, _client: Any, _data: Any, number: int, reasons: Any, _properties: Any) -> None:
        refused = any(reason.is_failure for reason in reasons)
        if number == self._needed:
            if refused:
                self._lose("it does not let this board hear its acknowledgements")
            self.listening = True
        elif refused:
            LOG.warning("the broker does not let this board hear requests")

    def _on_publish(self, _client: Any, _data: Any, number: int, _reason: Any, _properties: Any) -> None:
        self.unconfirmed -= 1
        self._progress = time.monotonic()
        self.confirmed.append(number)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours
        about = message.properties  # None before MQTT 5, which holds none
        self.received.append(
            Message(
                topic=topic,
                payload=bytes(message.payload),
                retained=message.retain,
                content_type=getattr(about, "ContentType", None),
                response_topic=getattr(about, "ResponseTopic", None),
                correlation=getattr(about, "CorrelationData", None),
                expiry_s=getattr(about, "MessageExpiryInterval", None),
                said={name.lower(): value for name, value in getattr(about, "UserProperty", ())},
            )
        )


def _session() -> dict[str, Any]:
    """A new one, in which no message is longer than it may be."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = LONGEST_PACKET_BYTES
    return {"clean_start": True, "properties": properties}


def _properties(reply: Reply) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = reply.content_type
    if reply.correlation is not None:
        properties.CorrelationData = reply.correlation
    properties.UserProperty = list(reply.said)
    return properties


class _Complaints(logging.Logger):
    """Keeps the last of paho's complaints, which says more than its codes; what is said how often is not its matter."""

    last = ""

    def log(self, level: int, msg: object, *args: object, **_: Any) -> None:
        if level >= logging.ERROR:
            self.last = str(msg) % args


class _NamedContext(ssl.SSLContext):
    """Checks the broker's certificate for a name of ours, not for the address by which it is reached."""

    server_name: str

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        # An answer follows the confirmation of its request, and must not wait until that has been acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return super().wrap_socket(sock, *arguments, **{**options, "server_hostname": self.server_name})


def _context(way: Way) -> ssl.SSLContext:
    """Raises OSError: the key is not there, or does not belong to the certificate."""
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = way.server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if way.ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=way.ca)
    load_own_certificate(context, way.certificate, way.key)
    return context
