"""One connection of the collector to its broker: TLS with its own certificate, MQTT 5 or 3.1.1, messages in batches.

The rule: nothing is acknowledged here by itself. What was read is given out; the caller says with `acknowledge` what is
committed. A session begins empty: what the broker would have kept for us, boards send again until we acknowledge it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Sequence

from agent.contract.errors import BrokerFailed
from edge.collector import packets
from edge.collector.broker import Broker
from edge.collector.packets import Control, Kind, Malformed, Publish, Version
from edge.collector.tls import TlsLink

CONNECT_S = 10.0
SILENCE_S = 3.0
"""A broker that has not answered CONNECT by then does not speak the version."""
KEEPALIVE_S = 30
MOST_BYTES = 2 * 1024 * 1024
"""Read at once; what is more waits with the broker."""
SUBSCRIBE_ID = 1


class VersionRefused(Exception):
    """The broker does not speak this version, or did not say so in time."""


class Session:
    """An open connection whose wishes are granted. A context manager.

    Attributes:
        version: that is spoken.
    """

    def __init__(self, broker: Broker, client_id: str, filters: Sequence[str], version: Version) -> None:
        """Connect and subscribe.

        Raises:
            VersionRefused: the broker is there, and does not speak this version.
            BrokerFailed: anything else that stands in the way.
        """
        self.version = version
        self._address = broker.address
        self._reader = packets.Reader(version)
        self._out: list[bytes] = []
        self._keepalive_s = float(KEEPALIVE_S)
        self._early: list[Publish] = []
        self._link = _connected(broker)
        try:
            self._introduce(client_id)
            self._subscribe(filters)
        except BaseException:
            self._link.close()
            raise
        self._asked_at = time.monotonic()
        self._answered = True

    def fileno(self) -> int:
        """For `select`."""
        return self._link.fileno()

    def read(self) -> list[Publish]:
        """Everything that is there now, up to some MB; never waits.

        Raises:
            BrokerFailed: the connection has ended, and why.
        """
        try:
            data = self._link.receive(MOST_BYTES)
        except OSError as error:
            raise self._failed(str(error)) from error
        found, self._early = self._early, []
        return found + self._sorted(data) if data else found

    @property
    def pending(self) -> bool:
        """Whether there is something to read that `select` does not see."""
        return bool(self._early)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """These messages are committed; said at the next `flush`."""
        self._out += [packets.puback(number) for number in packet_ids if number]

    def publish(self, topic: str, payload: bytes, *, retained: bool = True) -> None:
        """A message without acknowledgement; said at the next `flush`."""
        self._out.append(packets.publish(topic, payload, self.version, retained=retained))

    def flush(self) -> None:
        """Say what waits, in one piece.

        Raises:
            BrokerFailed: the broker does not take it.
        """
        if self._out:
            self._send(b"".join(self._out))
            self._out = []

    def tick(self) -> None:
        """Keep the connection alive; to be called every second or so, after `read`.

        Raises:
            BrokerFailed: the broker did not answer for too long.
        """
        now = time.monotonic()
        if not self._answered and now - self._asked_at > self._keepalive_s:
            raise self._failed(f"it did not answer for {self._keepalive_s:.0f} s")
        if self._answered and now - self._asked_at > self._keepalive_s / 2:
            self._answered, self._asked_at = False, now
            self._send(packets.PINGREQ)

    def close(self) -> None:
        """Say goodbye and end the connection."""
        try:
            self._send(packets.DISCONNECT)
        except BrokerFailed:
            return  # it is closed, which is what we want
        finally:
            self._link.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _introduce(self, client_id: str) -> None:
        try:
            self._link.send(
                packets.connect(client_id, self.version, keepalive_s=KEEPALIVE_S), timeout_s=SILENCE_S
            )
            welcome = packets.welcome(self._expect(Kind.CONNACK, SILENCE_S).body, self.version)
        except (OSError, Malformed) as error:
            raise VersionRefused(str(error)) from error
        if welcome.code == packets.UNSUPPORTED_VERSION:
            raise VersionRefused(packets.reason(welcome.code))
        if welcome.code:
            raise self._failed(packets.reason(welcome.code))
        self._keepalive_s = float(welcome.keepalive_s or KEEPALIVE_S)

    def _subscribe(self, filters: Sequence[str]) -> None:
        try:
            self._link.send(packets.subscribe(SUBSCRIBE_ID, filters, self.version), timeout_s=CONNECT_S)
            codes = packets.refused(self._expect(Kind.SUBACK, CONNECT_S).body, self.version)
        except (OSError, Malformed) as error:
            raise self._failed(str(error)) from error
        for filter, code in zip(filters, codes, strict=False):
            if code is not None:
                raise self._failed(f"it refuses to give `{filter}`: {packets.reason(code)}")

    def _expect(self, kind: Kind, timeout_s: float) -> Control:
        """Wait for one packet; messages that come first are kept."""
        while True:
            answer = None
            for packet in self._reader.take(self._link.wait(timeout_s)):
                if isinstance(packet, Publish):
                    self._early.append(packet)
                elif packet.kind == kind:
                    answer = packet
                elif packet.kind == Kind.DISCONNECT:
                    raise ConnectionResetError(packets.reason(packet.body[0] if packet.body else 0x80))
            if answer is not None:
                return answer

    def _sorted(self, data: bytes) -> list[Publish]:
        """The messages; what the broker says to us itself is seen to."""
        try:
            taken = self._reader.take(data)
        except Malformed as error:
            raise self._failed(str(error)) from error
        found: list[Publish] = []
        for packet in taken:
            if isinstance(packet, Publish):
                found.append(packet)
            elif packet.kind == Kind.PINGRESP:
                self._answered = True
            elif packet.kind == Kind.DISCONNECT:
                raise self._failed(packets.reason(packet.body[0] if packet.body else 0x80))
        return found

    def _send(self, data: bytes) -> None:
        try:
            self._link.send(data, timeout_s=CONNECT_S)
        except OSError as error:
            raise self._failed(str(error)) from error

    def _failed(self, reason: str) -> BrokerFailed:
        return BrokerFailed(address=self._address, reason=reason)


def open_session(
    broker: Broker,
    client_id: str,
    filters: Sequence[str],
    versions: Sequence[Version] = tuple(reversed(Version)),
) -> Session:
    """Connect with the first of `versions` that the broker speaks.

    Raises:
        BrokerFailed: with none.
    """
    why = "no version was tried"
    for version in versions:
        try:
            return Session(broker, client_id, filters, version)
        except VersionRefused as error:
            why = str(error)
    raise BrokerFailed(address=broker.address, reason=f"it speaks neither MQTT 5 nor 3.1.1 to us: {why}")


def _connected(broker: Broker) -> TlsLink:
    """A connection whose other end has shown the right certificate.

    Raises:
        BrokerFailed: there is none to be had.
    """
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.load_cert_chain(broker.certificate_file, broker.key_file)
        link = socket.create_connection((broker.host, broker.port), CONNECT_S)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return TlsLink(link, context, broker.server_name or broker.host, timeout_s=CONNECT_S)
        except BaseException:
            link.close()
            raise
    except (OSError, ValueError) as error:
        raise BrokerFailed(address=broker.address, reason=str(error)) from error
