"""Keeping a connection to the broker, and sending over it what the outbox holds.

The rule: on each connection the board says first what it is (birth, state, report), then hears what was acknowledged
and is asked, then sends: samples first, then answers, each with a window of its own, so that neither waits for the
other. Between attempts it waits a random part of a time that doubles, so that a fleet does not come back at once.
MQTT 5 is tried first; what an older broker spoke is remembered while it speaks it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError, OutboxFailed
from agent.contract.link import LinkConfig
from agent.contract.messages import Ack, Birth, Presence, PresenceMessage
from agent.contract.topics import TopicKind, topic
from agent.link.birth import birth
from agent.link.connection import MQTT_3, MQTT_5, Connection, Way, Will
from agent.link.inference import Inference
from agent.link.message import Message
from agent.link.outbox import Outbox
from agent.link.sampler import message
from agent.link.subject import Subject
from agent.link.window import Window
from agent.system import clock_synchronised

LONGEST_PAUSE_S = 60.0
STEADY_S = 10.0
"""A connection that held for so long was a good one: the next pause begins short."""
CUT_SHORT = 3
"""So many connections one after the other that end before that: some brokers do not say that another client came."""
GATHER_S = 0.05
"""Between two messages with little in them."""
GOODBYE_S = 0.2
LOG = logging.getLogger("agent.link")


class Session:
    """One board's connection to the broker that a configuration names.

    Args:
        subject: for whom. outbox: what to send.
        connections: their numbers, which only grow within a boot. wake: wakes the thread that calls `step`.

    Attributes:
        connection: the one that there is, or is being made.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        outbox: Outbox,
        connections: Iterator[int],
        wake: Callable[[], None],
    ) -> None:
        self._subject = subject
        self._device = subject.config.device
        self._outbox = outbox
        self._wake = wake
        self._config: LinkConfig | None = None
        self.connection: Connection | None = None
        self._numbers = connections
        self._number = 0
        self._protocol = MQTT_5
        self._announced = False
        self._window = Window()
        self._inference = Inference(subject.config.fleet, self._device, subject.ask, wake, subject.results)
        self._report: bytes | None = None
        self._born: Birth | None = None
        self._failures = 0
        self._next_try = 0.0
        self._next_send = 0.0
        self._since = 0.0
        self._cut_short = 0
        self._complaint = ""

    def configure(self, config: LinkConfig | None) -> None:
        """Go on by another configuration, or by none. Where it is reached differently, it connects anew."""
        before, self._config = self._config, config
        if config is None:
            self.end()
        elif before is not None and self._way(before) != self._way(config):
            self._leave()
        if before is not None and config is not None and _broker(before) != _broker(config):
            self._protocol = MQTT_5
        self._failures = 0
        self._next_try = 0.0

    def report(self, signed: bytes) -> None:
        """Publish the board's report now and on each connection; its bytes are not changed."""
        self._report = signed
        if self._announced and self.connection is not None:
            self.connection.publish(self._topic(TopicKind.REPORTED), signed, retain=True)

    def tell_birth(self) -> None:
        """Say what the board is, where that is not what this connection has said: its models may be others by now."""
        if not self._announced or self.connection is None:
            return
        born = birth(self._subject, self._number)
        if born != self._born:
            self._born = born
            self.connection.publish(self._topic(TopicKind.BIRTH), encode(born), retain=True)

    def step(self, now: float, *, readable: bool, writable: bool) -> None:
        """Do what there is to do; never waits."""
        connection = self.connection
        if connection is None:
            if self._config is not None and now >= self._next_try:
                self._connect(self._config)
            return
        connection.turn(readable=readable, writable=writable)
        if connection.lost is not None:
            self._lost(connection, now)
            return
        if connection.ready and not self._announced:
            self._announce(connection, now)
        self._take(connection, now)
        if connection.listening:
            self._send(connection, now)
            self._answer(connection, now)

    def send_again(self, after: float) -> None:
        """The outbox is not what it was: begin with what it holds, not before `after`."""
        self._window.again(asking=False)
        self._next_send = after

    def deadline(self, now: float) -> float:
        """When `step` has something to do though nothing comes."""
        if self.connection is None:
            return self._next_try if self._config is not None else float("inf")
        if self.connection.lost is not None:
            return now
        if self.connection.listening and self._inference.due:
            return now
        unsent = self._outbox.last_place > self._window.sent and self._window.open
        return max(self._next_send, now) if unsent and self.connection.listening else float("inf")

    def end(self) -> None:
        """Say goodbye, as far as that is quickly done."""
        connection = self.connection
        if connection is not None and self._announced and connection.lost is None:
            connection.publish(self._topic(TopicKind.STATE), self._presence(Presence.OFFLINE), retain=True)
            self._wait_until_confirmed(connection)
        self._leave()

    # --- the connection

    def _connect(self, config: LinkConfig) -> None:
        self._number = next(self._numbers)
        self._announced = False
        self._window.again(asking=False)
        self.connection = Connection(
            self._way(config),
            device=self._device,
            protocol=self._protocol,
            will=Will(self._topic(TopicKind.STATE), self._presence(Presence.LOST)),
            wake=self._wake,
        )

    def _announce(self, connection: Connection, now: float) -> None:
        self._announced, self._since, self._complaint = True, now, ""
        LOG.info("connected to the broker, MQTT %s", "5" if connection.protocol == MQTT_5 else "3.1.1")
        self._born = None
        self.tell_birth()
        connection.publish(self._topic(TopicKind.STATE), self._presence(Presence.ONLINE), retain=True)
        if self._report is not None:
            connection.publish(self._topic(TopicKind.REPORTED), self._report, retain=True)
        connection.subscribe(self._topic(TopicKind.ACK))
        connection.subscribe_requests(self._inference.filter)

    def _lost(self, connection: Connection, now: float) -> None:
        self.connection = None
        self._inference.disconnected()
        steady = connection.ready and now - self._since >= STEADY_S
        self._cut_short = self._cut_short + 1 if connection.ready and not steady else 0
        if connection.taken_over or self._cut_short == CUT_SHORT:
            LOG.warning(
                "another client seems to come to the broker with this board's name, `%s`: is there a copy of this"
                " board's card?",
                self._device,
            )
        elif connection.lost != self._complaint:
            LOG.warning("no connection to the broker: %s", connection.lost)
            self._complaint = connection.lost or ""
        if steady:
            self._failures = 0
        if connection.refused and connection.protocol == MQTT_5:
            self._protocol, self._next_try = MQTT_3, now
            return
        if not connection.ready:
            self._protocol = MQTT_5
        pause_s = min(LONGEST_PAUSE_S, 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._next_try = now + random.uniform(0, pause_s)  # noqa: S311 - to spread a fleet, not to keep a secret

    def _leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.end()
            self._inference.disconnected()

    def _wait_until_confirmed(self, connection: Connection) -> None:
        end = time.monotonic() + GOODBYE_S
        while (connection.unconfirmed or self._inference.busy) and connection.lost is None:
            now = time.monotonic()
            if now > end:
                break
            time.sleep(0.002)
            connection.turn(readable=True, writable=connection.wants_write)
            with suppress(OutboxFailed):  # what is not deleted is sent again
                self._take(connection, now)
            self._answer(connection, now)

    # --- requests

    def _take(self, connection: Connection, now: float) -> None:
        for number in connection.confirmed:
            self._inference.confirmed(number)
        connection.confirmed.clear()
        while connection.received:
            came = connection.received.pop(0)
            if self._inference.concerns(came.topic):
                self._inference.heard(came, now)
            else:
                self._heard(came, now)

    def _answer(self, connection: Connection, now: float) -> None:
        while connection.lost is None and (reply := self._inference.next(now)) is not None:
            self._inference.sent(connection.answer(reply), reply)

    # --- the outbox

    def _heard(self, message: Message, now: float) -> None:
        """An acknowledgement, where it is the enrolled collector's."""
        try:
            ack = decode(Ack, message.payload, limit_bytes=4096)
        except ContractError as error:
            LOG.debug("an acknowledgement that is none: %s", error)
            return
        ours = self._config is not None and ack.collector == self._config.collector
        if not ours or ack.device != self._device:
            return
        self._window.heard(ack.credit)
        span = self._outbox.acknowledge(ack.boot, ack.seq)
        if span is not None:
            self._window.acknowledge(*span, now)

    def _send(self, connection: Connection, now: float) -> None:
        """What the window lets through; little is gathered for a moment."""
        if self._window.overdue(now) and not connection.unconfirmed:
            self._window.again(asking=True)
            self._next_send = now
        if now < self._next_send:
            return
        while self._window.open and self._outbox.last_place > self._window.sent:
            pending = self._outbox.pending(self._window.sent)
            if pending is None:
                self._window.sent = self._outbox.last_place
                return
            kind = TopicKind.EVENT if pending.event else TopicKind.TELEMETRY
            payload = message(pending, device=self._device, clock_synchronised=clock_synchronised())
            connection.publish(self._topic(kind), payload)
            self._window.send(pending.place, now)
            if not pending.more:
                self._next_send = now + GATHER_S
                return

    def _presence(self, presence: Presence) -> bytes:
        return encode(PresenceMessage(self._device, self._outbox.boot, self._number, presence))

    def _way(self, config: LinkConfig) -> Way:
        host, port = config.address
        key = self._subject.folder.mqtt_key
        return Way(host, port, config.server_name or host, config.ca, config.certificate, key)

    def _topic(self, kind: TopicKind) -> str:
        return topic(self._subject.config.fleet, self._device, kind)


def _broker(config: LinkConfig) -> tuple[str, str]:
    """Who speaks there, whatever the port of a tunnel is."""
    return config.server_name or config.address[0], config.collector
