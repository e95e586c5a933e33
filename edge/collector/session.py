"""One connection of the collector to its broker: TLS with its own certificate, MQTT 3.1.1 by paho, messages in batches.

The rule: nothing is acknowledged here by itself. What was read is given out; the caller says with `acknowledge` what is
committed. A session begins empty and is never made again: what the broker would have kept for us, boards send again
until we acknowledge it. Why 3.1.1: docs/decisions/0012-collector-speaks-mqtt-3-by-paho.md.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from agent.contract.errors import BrokerFailed
from edge.collector.batched import BatchedSocket, context
from edge.collector.broker import Broker

CONNECT_S = 10.0
"""For the connection, for the handshake, and for a broker that does not take what we send."""
ANSWER_S = 10.0
KEEPALIVE_S = 30
MOST_BYTES = 2 * 1024 * 1024
"""Read at once; what is more waits with the broker."""


class Message(NamedTuple):
    """A message; `packet_id` is 0 where it wants no acknowledgement. `retained`: it was there before we came.

    A topic that is no UTF-8 is empty here.
    """

    topic: str
    payload: bytes
    packet_id: int
    retained: bool


class Session:
    """An open connection whose wishes are granted. A context manager."""

    def __init__(self, broker: Broker, client_id: str, filters: Sequence[str]) -> None:
        """Connect and subscribe.

        Raises:
            BrokerFailed: something stands in the way.
        """
        self._address = broker.address
        self._messages: list[Message] = []
        self._bytes = 0
        self._ended = ""
        self._welcome: Any = None
        self._granted: Sequence[Any] = ()
        self._client = self._make(client_id)
        self._socket = self._connect(broker)
        try:
            self._introduce()
            self._subscribe(filters)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """For `poll`."""
        return self._socket.fileno()

    def read(self) -> list[Message]:
        """Everything that is there now, up to some MB; never waits.

        Raises:
            BrokerFailed: the connection has ended, and everything before that was given.
        """
        self._take()
        if self._ended and not self._messages:
            raise self._failed(self._ended)
        found, self._messages, self._bytes = self._messages, [], 0
        return found

    @property
    def pending(self) -> bool:
        """Whether there is something to read that `poll` does not see."""
        return bool(self._messages or self._ended) or self._socket.holds

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """These messages are committed; said at the next `flush`."""
        for number in packet_ids:
            if number:
                self._client.ack(number, 1)

    def publish(self, topic: str, payload: bytes, *, retained: bool = True) -> None:
        """A message without acknowledgement, whose loss the next one heals; said at the next `flush`."""
        self._client.publish(topic, payload, 0, retained)

    def flush(self) -> None:
        """Say what waits, in one piece.

        Raises:
            BrokerFailed: the broker does not take it.
        """
        self._client.loop_write()
        try:
            self._socket.push(CONNECT_S)
        except OSError as error:
            raise self._failed(str(error)) from error

    def tick(self) -> None:
        """Keep the connection alive; to be called every second or so, after `read`.

        Raises:
            BrokerFailed: the broker did not answer for too long.
        """
        self._client.loop_misc()
        if self._client.socket() is None:
            raise self._failed(self._ended or f"it did not answer for {KEEPALIVE_S} s")
        self.flush()

    def close(self) -> None:
        """Say goodbye and end the connection."""
        self._client.disconnect()
        self._client.loop_write()  # which closes the socket after it

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self, client_id: str) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_S
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_register_write = _at_the_next_flush
        return client

    def _connect(self, broker: Broker) -> BatchedSocket:
        try:
            self._client.tls_set_context(context(broker))
            self._client.connect(broker.host, broker.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise self._failed(str(error)) from error
        made = self._client.socket()
        assert isinstance(made, BatchedSocket)
        return made

    def _introduce(self) -> None:
        self._wait(lambda: self._welcome is not None)
        if self._welcome.is_failure:
            raise self._failed(f"it refuses: {self._welcome}")

    def _subscribe(self, filters: Sequence[str]) -> None:
        self._client.subscribe([(filter, 1) for filter in filters])
        self._wait(lambda: bool(self._granted))
        for filter, code in zip(filters, self._granted, strict=False):
            if code.is_failure:
                raise self._failed(f"it refuses to give `{filter}`")

    def _wait(self, answered: Callable[[], bool]) -> None:
        """Say what waits to be said, and wait for the answer."""
        self.flush()
        until = time.monotonic() + ANSWER_S
        while not answered():
            if self._ended:
                raise self._failed(self._ended)
            ready = select.poll()
            ready.register(self, select.POLLIN)
            if not self._socket.holds and not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                raise self._failed("it does not answer")
            self._take()

    def _take(self) -> None:
        """Have paho read all that is there, up to some MB."""
        self._socket.drained = False
        while not self._ended and not self._socket.drained and self._bytes < MOST_BYTES:
            code = self._client.loop_read()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._ended = mqtt.error_string(code).rstrip(".").lower()

    def _failed(self, reason: str) -> BrokerFailed:
        return BrokerFailed(address=self._address, reason=reason)

    # --- called by paho

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._welcome = reason

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, reasons: Any, _properties: Any) -> None:
        self._granted = reasons

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        payload = bytes(message.payload)
        self._bytes += len(payload)
        self._messages.append(Message(topic, payload, message.mid, message.retain))


def _at_the_next_flush(*_: object) -> None:
    """That paho knows such a function keeps it from sending each packet at once."""
