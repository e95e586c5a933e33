"""One connection to a broker, over TLS: made, used, ended, and never made again. paho is known here alone.

The rule: a connection begins clean and ends with what it held; what must arrive lies in the outbox and is sent again
on the next one. paho's own queue holds no more than the window lets be sent. Finding the broker and the handshake
happen in a short-lived thread, since both may take long; everything else in the thread that calls.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

CONNECT_S = 10.0
"""For the TCP connection, and for the handshake."""
SILENCE_S = 3.0
"""A broker that does not answer CONNECT for so long does not speak this MQTT."""
STUCK_S = 30.0
"""A broker that answers, and confirms nothing for so long, has forgotten us."""
KEEPALIVE_S = 20
MQTT_5, MQTT_3 = mqtt.MQTTv5, mqtt.MQTTv311
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
        listening: the subscription stands.
        unconfirmed: messages that the broker has not confirmed.
        lost: why it is gone, or None.
        refused: the broker was reached, and does not let us in with this protocol; another may be tried.
        taken_over: another client came with the same name.
        received: payloads that came, oldest first; whoever takes them empties it.
    """

    def __init__(self, way: Way, *, device: str, protocol: int, will: Will, wake: Callable[[], None]) -> None:
        self.protocol = protocol
        self.ready = self.listening = self.refused = self.taken_over = False
        self.unconfirmed = 0
        self.lost: str | None = None
        self.received: list[bytes] = []
        self._way = way
        self._wake = wake
        self._asked: float | None = None
        self._confirmed = 0.0
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
        way, options = self._way, {"clean_start": True} if self.protocol == MQTT_5 else {}
        try:
            self._client.tls_set_context(_context(way))
            self._client.connect(way.host, way.port, KEEPALIVE_S, **options)  # type: ignore[arg-type]
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
            codes.append(self._client.loop_read())
            while not any(codes) and self._buffered():
                codes.append(self._client.loop_read())
        if writable:
            codes.append(self._client.loop_write())
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
        elif self.unconfirmed and now - self._confirmed > STUCK_S:
            self._lose("it confirms nothing")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send at least once, where the connection holds."""
        if not self.unconfirmed:
            self._confirmed = time.monotonic()
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            self.unconfirmed += 1
        else:
            self._lose(mqtt.error_string(info.rc))

    def subscribe(self, topic: str) -> None:
        """Hear a retained topic. What is lost on the way is followed by the next, so nothing is confirmed."""
        self._client.subscribe(topic, qos=0)

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

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._lose("it does not let this board hear its acknowledgements")
        self.listening = True

    def _on_publish(self, _client: Any, _data: Any, _id: int, _reason: Any, _properties: Any) -> None:
        self.unconfirmed -= 1
        self._confirmed = time.monotonic()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.received.append(bytes(message.payload))


class _Complaints(logging.Logger):
    """Keeps the last of paho's complaints, which says more than its codes; what is said how often is not its matter."""

    last = ""

    def log(self, level: int, msg: object, *args: object, **_: Any) -> None:
        if level >= logging.ERROR:
            self.last = str(msg) % args


class _NamedContext(ssl.SSLContext):
    """Checks the broker's certificate for a name of ours, not for the address by which it is reached."""

    server_name: str

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})


def _context(way: Way) -> ssl.SSLContext:
    """Raises OSError: the key is not there, or does not belong to the certificate."""
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = way.server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if way.ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=way.ca)
    # OpenSSL reads a certificate from a file alone: one that is memory, and nobody else's.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, way.certificate.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", way.key)
    finally:
        os.close(descriptor)
    return context
