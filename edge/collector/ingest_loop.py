"""What boards say, from the broker into the store: the one thread that reads, commits and acknowledges.

The rule: nothing is acknowledged before it is committed, neither to the broker nor to a board. Where the store can't
take it, the connection is given up, so that nothing piles up in the broker: boards keep what is not acknowledged, and
the same batch is tried until the store takes it.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from agent.contract.errors import BrokerFailed, EdgeError, StoreUnusable
from agent.contract.topics import TopicKind, subscription
from edge.collector.acks import Acks
from edge.collector.broker import KIND_OWN, Broker
from edge.collector.session import Message, Session
from edge.telemetry.ingest import Ingested, Received, StreamAck
from edge.telemetry.store import Store

GATHER_S = 0.1
"""A batch is committed so long after its first message."""
BREATH_S = 0.02
"""Between two looks while a batch gathers: what came meanwhile is read in one go."""
MOST_MESSAGES = 2_000
"""A batch that holds more is committed at once."""
MOST_BYTES = 16 * 1024 * 1024
TICK_S = 1.0
PATIENCE_S = 5.0
MOST_TO_SAY = 1_000
SHORTEST_WAIT_S = 0.1
LONGEST_WAIT_HERE_S = 2.0
MOST_FAILURES = 2
"""A broker here that could not be connected to so often, one time after the other, is replaced."""
LONGEST_WAIT_S = 60.0
"""Full jitter: the n-th attempt waits 0 to min(this, 0.1 * 2**n) seconds."""
GOOD_S = 5.0
"""A connection that ends sooner is not made anew at once: another collector with our id may have put us out."""
STARTING = "its start"
KINDS = (TopicKind.TELEMETRY, TopicKind.EVENT, TopicKind.BIRTH, TopicKind.STATE, TopicKind.REPORTED)

log = logging.getLogger(__name__)


class IngestLoop:
    """A thread of its own between `start` and `stop`; other threads read its attributes.

    Attributes:
        broker: as it was started last, or None.
        connected: messages come in and are stored.
        waits_for: why nothing is taken, or None.
        messages, batches: read since the start. stored: samples and events that were new. repeated: those that were
            not. refused: messages by code.
        lag_s: from a batch's first message to its commit.
    """

    def __init__(
        self,
        *,
        fleet: str,
        collector_id: str,
        open_store: Callable[[], Store],
        start_broker: Callable[[], Broker],
        heard: Callable[[Sequence[StreamAck], float], None],
        tick: Callable[[Store], None],
    ) -> None:
        """Nothing is begun yet.

        Args:
            fleet: its name.
            collector_id: who we are, to the broker and in acknowledgements.
            open_store: for writing.
            start_broker: called when there is none, or when it has ended.
            heard: gets what was committed, and when it came, seconds since 1970.
            tick: called about every second, with the store, by this thread.
        """
        self._collector_id = collector_id
        self._acks = Acks(fleet, collector_id)
        self._filters = [subscription(fleet, kind) for kind in KINDS]
        self._open_store = open_store
        self._start_broker = start_broker
        self._heard = heard
        self._tick = tick
        self._store: Store | None = None
        self._batch: list[Received] = []
        self._to_say: deque[tuple[str, bytes, bool]] = deque(maxlen=MOST_TO_SAY)
        self._ending = threading.Event()
        self._woken, self._wake = os.pipe()
        self._ticked_at = 0.0
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="edge-ingest", daemon=True)
        self.broker: Broker | None = None
        self.connected = False
        self.waits_for: str | None = STARTING
        self.messages = self.stored = self.repeated = self.batches = 0
        self.refused: Counter[str] = Counter()
        self.lag_s: float | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what was read, say goodbye, end the broker here and close the store. What hangs is left: nothing that
        was not committed was acknowledged."""
        self._ending.set()
        os.write(self._wake, b"x")
        self._thread.join(PATIENCE_S)

    def say(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Publish once, soon; any thread may call it. What waits while there is no broker is the newest."""
        self._to_say.append((topic, payload, retained))

    def alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._ending.is_set():
                before, began = self.batches, time.monotonic()
                try:
                    self._serve()
                except StoreUnusable as error:
                    self._say(error)
                    self._close_store()  # what is at its place now may be another one
                except EdgeError as error:
                    self._say(error)
                good = self.batches > before and time.monotonic() - began > GOOD_S
                attempt = 0 if good else attempt + 1
                self._pause(self._pause_s(attempt))
        finally:
            self._close_store()
            if self.broker is not None:
                self.broker.stop()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _pause_s(self, attempt: int) -> float:
        away = self.broker is not None and self.broker.kind == KIND_OWN
        longest = LONGEST_WAIT_S if away else LONGEST_WAIT_HERE_S
        return random.uniform(0, min(longest, SHORTEST_WAIT_S * 2 ** min(attempt, 16)))

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; what the boards' ways are like is written meanwhile too."""
        until = time.monotonic() + seconds
        while not self._ending.is_set() and (left := until - time.monotonic()) > 0:
            self._ending.wait(min(left, TICK_S))
            try:
                if self._store is not None:
                    self._housekeeping(self._store)
            except EdgeError as error:
                self._say(error)

    def _say(self, error: EdgeError) -> None:
        self.connected = False
        if str(error) != self.waits_for:
            log.warning("waits: %s [%s]", error, error.code)
        self.waits_for = str(error)

    def _serve(self) -> None:
        """One connection, from its beginning to its end."""
        if self._store is None:
            self._store = self._open_store()
        store = self._store
        if self._batch:
            self._commit(store, self._batch)
        self._housekeeping(store)
        if self.broker is None or not self.broker.alive():
            self.broker = self._start_broker()
        with self._connect(self.broker) as session:
            log.info("connected to %s at %s", self.broker.kind, self.broker.address)
            self.connected, self.waits_for = True, None
            while not self._ending.is_set():
                self._batch_of(session, store)
                while self._to_say:
                    said, payload, retained = self._to_say.popleft()
                    session.publish(said, payload, retained=retained)
                session.flush()
                session.tick()
                self._housekeeping(store)

    def _connect(self, broker: Broker) -> Session:
        """A broker here that runs and lets nobody in is ended, so that the next attempt starts another one."""
        try:
            session = Session(broker, self._collector_id, self._filters)
        except BrokerFailed:
            self._failures += 1
            if self._failures >= MOST_FAILURES and broker.child is not None:
                log.warning("ends the broker, process %s: it can't be used", broker.pid)
                broker.stop()
            raise
        self._failures = 0
        return session

    def _batch_of(self, session: Session, store: Store) -> None:
        """Wait for messages, gather more of them, commit, acknowledge."""
        if not session.pending:
            ready = select.poll()
            ready.register(session, select.POLLIN)
            ready.register(self._woken, select.POLLIN)
            if not ready.poll(TICK_S * 1000) or self._ending.is_set():
                return
        first = time.monotonic()
        found = session.read()
        size = _size(found)
        while len(found) < MOST_MESSAGES and size < MOST_BYTES and time.monotonic() < first + GATHER_S:
            time.sleep(BREATH_S)
            more = session.read()
            size += _size(more)
            found += more
        if not found:
            return
        rx = time.time()
        self._batch = [Received(message.topic, message.payload, rx, message.retained) for message in found]
        outcome = self._commit(store, self._batch)
        self.lag_s = time.monotonic() - first
        session.acknowledge(message.packet_id for message in found)
        for ack in outcome.acks:
            session.publish(*self._acks.message(ack))

    def _commit(self, store: Store, batch: Sequence[Received]) -> Ingested:
        outcome = store.ingest(batch)
        self._batch = []
        self.batches += 1
        self.messages += len(batch)
        self.stored += outcome.stored
        self.repeated += outcome.duplicates
        self.refused.update(refused.error.code for refused in outcome.refused)
        self._heard(outcome.acks, batch[-1].rx)
        return outcome

    def _housekeeping(self, store: Store) -> None:
        now = time.monotonic()
        if now - self._ticked_at >= TICK_S:
            self._ticked_at = now
            self._tick(store)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.payload) for message in messages)
