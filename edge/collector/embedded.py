"""The embedded broker, a process of its own: `python -m edge.collector.embedded CONFIG`.

The rule: amqtt carries messages, and nothing reaches it that was not looked at at the door. A connection needs a
certificate of the fleet; its first packet must be MQTT 3.1.1 with a will that its owner may write; its client id
becomes the certificate's name, so that nobody takes another one's session over; no packet is longer than a message of
ours; and who is silent for too long is gone, so that its will is heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
from pathlib import Path
from typing import Any

from amqtt.adapters import BufferReader, StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import AMQTTError
from amqtt.mqtt.connect import ConnectPacket
from amqtt.session import Session

from edge.collector import mosquitto
from edge.collector.access import AccessList

FIRST_PACKET_S = 10.0
FIRST_PACKET_BYTES = 128 * 1024
LISTENER = "default"
PLUGINS = "edge.collector.embedded_access"
FAREWELL_S = 5.0
SILENCE = 1.5
"""Times its keepalive may a client be silent."""
CONNECT = 0x10
MQTT_3_1_1 = b"\x00\x04MQTT\x04"
REFUSED_PROTOCOL = b"\x20\x02\x00\x01"
REFUSED_CLIENT = b"\x20\x02\x00\x05"
"""Answers to a CONNECT: unacceptable protocol version, not authorised."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """A connection is not let in; `answer` is what it is told."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


class FleetBroker(Broker):  # type: ignore[misc]  # the library has no types
    """amqtt's broker, whose retained messages go only to those who subscribed to them."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt sends each client that connects what matches anybody's subscription
        holders = self.subscriptions.get(subscription[0], [])
        if any(holder.client_id == session.client_id for holder, _ in holders):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class CheckedReader(StreamReaderAdapter):  # type: ignore[misc]  # the library has no types
    """A connection's bytes, begun with a packet that was looked at.

    Attributes:
        heard: when something came last, by the event loop's clock.
    """

    def __init__(self, reader: asyncio.StreamReader, first: bytes) -> None:
        super().__init__(reader)
        self._first = first
        self._ended = False
        self._clock = asyncio.get_running_loop().time
        self.heard = self._clock()

    async def read(self, n: int = -1) -> bytes:
        if self._first:
            taken, self._first = self._first[:n], self._first[n:]
            return taken
        self._ended |= n > mosquitto.PACKET_BYTES
        if self._ended:
            raise asyncio.IncompleteReadError(b"", n)
        data = bytes(await super().read(n))
        self.heard = self._clock()
        return data


class Door:
    """Lets connections in to the broker."""

    def __init__(self, broker: Broker, access: AccessList) -> None:
        self._broker = broker
        self._access = access
        self._inside: dict[str, tuple[asyncio.StreamWriter, asyncio.Event]] = {}

    async def knock(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        try:
            async with asyncio.timeout(FIRST_PACKET_S):
                name = identity(writer)
                packet = await self._first_packet(reader, name)
        except Refused as refused:
            log.warning("refused: %s", refused)
            await _turn_away(writer, refused.answer)
            return
        except (AMQTTError, TimeoutError, OSError, EOFError, ValueError):
            await _turn_away(writer, b"")
            return
        await self._end_other(name)
        ended = asyncio.Event()
        self._inside[name] = writer, ended
        try:
            await self._lead(reader, writer, packet)
        finally:
            ended.set()
            if self._inside.get(name) == (writer, ended):
                del self._inside[name]

    async def _lead(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packet: ConnectPacket
    ) -> None:
        """Let the connection in, and wait for its end."""
        silence_s = packet.keep_alive * SILENCE
        packet.keep_alive = 0  # amqtt notices silence and does nothing
        checked = CheckedReader(reader, packet.to_bytes())
        watch = asyncio.create_task(_end_silent(checked, writer, silence_s)) if silence_s else None
        try:
            await self._broker.external_connected(checked, StreamWriterAdapter(writer), LISTENER)
        except (OSError, EOFError) as error:
            log.warning("a connection broke: %s", error)
        finally:
            if watch is not None:
                watch.cancel()
            writer.close()

    async def _end_other(self, name: str) -> None:
        """End the client's older connection: amqtt would leave it open, and deaf."""
        while name in self._inside:
            writer, ended = self._inside[name]
            writer.transport.abort()
            try:
                async with asyncio.timeout(FAREWELL_S):
                    await ended.wait()
            except TimeoutError:
                log.warning("the older connection of %s does not end", name)
                return

    async def _first_packet(self, reader: asyncio.StreamReader, name: str) -> ConnectPacket:
        """What the client called `name` says first, as the broker shall see it."""
        header, body = await _read_first(reader)
        if not body.startswith(MQTT_3_1_1):
            raise Refused(f"{name} does not speak MQTT 3.1.1", REFUSED_PROTOCOL)
        packet = await ConnectPacket.from_stream(BufferReader(header + body))
        will = packet.will_topic if packet.will_flag else None
        if will is not None and not self._access.may_publish(name, will):
            raise Refused(f"{name} has a will for {will[:200]}", REFUSED_CLIENT)
        packet.client_id = name
        return packet


def identity(writer: asyncio.StreamWriter) -> str:
    """The common name of the client's certificate.

    Raises:
        Refused: it has none.
    """
    certificate: dict[str, Any] = writer.get_extra_info("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if len(names) != 1:
        raise Refused("a certificate without a name")
    return str(names[0])


async def _read_first(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Header and body of the first packet, which must be a CONNECT and small."""
    header = await reader.readexactly(2)
    while header[-1] & 0x80 and len(header) < 5:
        header += await reader.readexactly(1)
    length = sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(header[1:]))
    if header[0] != CONNECT or length > FIRST_PACKET_BYTES:
        raise Refused("the first packet is no CONNECT")
    return header, await reader.readexactly(length)


async def _turn_away(writer: asyncio.StreamWriter, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        writer.write(answer)
        writer.close()
        await writer.wait_closed()


async def _end_silent(reader: CheckedReader, writer: asyncio.StreamWriter, silence_s: float) -> None:
    """End the connection when nothing was heard for so long."""
    clock = asyncio.get_running_loop().time
    while (left := reader.heard + silence_s - clock()) > 0:
        await asyncio.sleep(left)
    writer.transport.abort()


async def run(path: Path) -> None:
    """Serve what the configuration at `path` says, until the process is ended: there is nothing to put in order."""
    plain = json.loads(path.read_bytes())
    rules = {"fleet": plain["fleet"], "collector": plain["collector"], "clients": plain["clients"]}
    access = AccessList(plain["fleet"], plain["collector"], tuple(plain["clients"]))
    broker = FleetBroker(
        BrokerConfig(
            listeners={LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={f"{PLUGINS}.Admitted": {}, f"{PLUGINS}.Access": rules},
        )
    )
    await broker.start()
    door = Door(broker, access)
    server = await asyncio.start_server(
        door.knock, "127.0.0.1", plain["port"], ssl=_tls(path.parent), ssl_handshake_timeout=FIRST_PACKET_S
    )
    await server.serve_forever()


def _tls(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / mosquitto.AUTHORITY)
    context.load_cert_chain(folder / mosquitto.CERTIFICATE, folder / mosquitto.KEY)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def main(arguments: list[str]) -> int:
    """Run the broker of the configuration named by the only argument."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(run(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
