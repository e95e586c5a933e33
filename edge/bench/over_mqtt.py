"""A window of load through the fleet's broker: questions from here, answers back, what they cost told by the board.

The rule: time is taken where an asker is, on this machine, so that both ways through the broker are in it. A question
is published once, without acknowledgement, under a topic of its own; what is lost is not asked again, and counts as not
answered, with the time that it had waited. What the agent takes is counted by the board, from a look before the window
to one after it; the agent's idle time between is in it.
"""

from __future__ import annotations

import itertools
import json
import select
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from agent.contract.arrivals import due_times
from agent.contract.errors import Interrupted
from agent.contract.load import LoadProbe, LoadReport, bucket, counted
from edge.bench.subject import Generator
from edge.bench.window import DRAIN_S, MQTT, Window
from edge.collector.asking import Line, check_length, line
from edge.collector.session import Message
from edge.config import FleetFolder

NO_ANSWER = "no answer"
REFUSED = b'{"error"'
"""How an answer begins that is none."""
PROBE_S = 30.0
TICK_S = 1.0
CLOCK = time.perf_counter

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class ThroughBroker:
    """Load on one board's model over MQTT.

    Attributes:
        fleet: whose broker. device_id: the board.
        board: the agent's `bench` there, which is asked for its counts.
    """

    fleet: FleetFolder
    device_id: str
    board: Generator

    def __call__(self, window: Window) -> LoadReport:
        """One window.

        Raises:
            EdgeError: the board's own, as it said it. BrokerFailed, CollectorFailed, CollectorHung: no way there.
        """
        first = self._probe()
        body = first.request.encode()
        check_length(body)
        with line(self.fleet, self.device_id, first.model) as to_board:
            load = _Load(to_board, body, window)
            if load.run(window.warm_up_s).cut:
                raise Interrupted
            before, own_s = self._probe(), time.process_time()
            found = load.run(window.seconds)
            own_s = time.process_time() - own_s
        after, interrupted = self.board.told(LoadProbe, ["--probe"], PROBE_S)
        found.cut = found.cut or interrupted
        return _report(window, before, after, found, own_s)

    def _probe(self) -> LoadProbe:
        found, interrupted = self.board.told(LoadProbe, ["--probe"], PROBE_S)
        if interrupted:
            raise Interrupted
        return found


@dataclass
class _Tally:
    """What was seen in a window; see `LoadReport`. `cut`: it was interrupted."""

    sent: int = 0
    requests: int = 0
    waited: int = 0
    seconds: float = 0.0
    cut: bool = False
    latencies: dict[int, int] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def failed(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1


class _Load:
    """Windows of load on one connection; questions are told apart by numbers that are never used again."""

    def __init__(self, to_board: Line, body: bytes, window: Window) -> None:
        self._line = to_board
        self._body = body
        self._window = window
        self._numbers = itertools.count()
        self._asked: dict[str, float] = {}
        self._waiting: deque[float] = deque()
        self._tally = _Tally()

    def run(self, seconds: float) -> _Tally:
        """The load for so many seconds, and the wait for its last answers."""
        tally = self._tally = _Tally()
        rate = self._window.rate_per_s
        began = CLOCK()
        end = began + seconds
        due = (began + at for at in due_times(rate, seconds, self._window.arrivals)) if rate else None
        try:
            self._send_and_hear(due, end)
        except KeyboardInterrupt:
            tally.cut = True
            self._waiting.clear()
            self._asked.clear()
        now = CLOCK()
        tally.seconds = now - began
        for since in (*self._waiting, *self._asked.values()):
            _count(tally.latencies, now - since)
            tally.failed(NO_ANSWER)
        self._waiting.clear()
        self._asked.clear()
        return tally

    def _send_and_hear(self, due: Iterator[float] | None, end: float) -> None:
        session, tick_at = self._line.session, CLOCK() + TICK_S
        following = next(due, None) if due is not None else None
        while (now := CLOCK()) < end + DRAIN_S:
            if due is None and now < end:
                self._fill(now)
            while due is not None and following is not None and following <= now:
                self._ask_when_free(following, now)
                following = next(due, None)
            session.flush()
            if now >= end and following is None and not self._asked and not self._waiting:
                return
            if now >= tick_at:
                session.tick()
                tick_at = now + TICK_S
            wake = min(following or end + DRAIN_S, end if now < end else end + DRAIN_S, tick_at)
            # not `poll`, which waits whole milliseconds
            if session.pending or select.select([session], [], [], max(0.0, wake - CLOCK()))[0]:
                self._hear(session.read())

    def _fill(self, now: float) -> None:
        while len(self._asked) < self._window.connections:
            self._tally.sent += 1
            self._ask(now)

    def _ask_when_free(self, due: float, now: float) -> None:
        self._tally.sent += 1
        _count(self._tally.late, now - due)
        if len(self._asked) < self._window.connections:
            self._ask(due)
        else:
            self._tally.waited += 1
            self._waiting.append(due)

    def _ask(self, since: float) -> None:
        behind = f"/{next(self._numbers)}"
        self._asked[self._line.answer + behind] = since
        self._line.session.publish(self._line.question + behind, self._body, retained=False)

    def _hear(self, messages: list[Message]) -> None:
        now, tally = CLOCK(), self._tally
        for message in messages:
            since = self._asked.pop(message.topic, None)
            if since is None:  # of a window before: too late, or a second time
                continue
            if message.payload.startswith(REFUSED):
                tally.failed(_status(message.payload))
            else:
                tally.requests += 1
                _count(tally.latencies, now - since)
            if self._waiting:
                self._ask(self._waiting.popleft())
        self._line.session.acknowledge(message.packet_id for message in messages)


def _count(counts: dict[int, int], seconds: float) -> None:
    at = bucket(int(seconds * 1e9))
    counts[at] = counts.get(at, 0) + 1


def _status(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["status"])
    except (ValueError, KeyError):
        return "refused"


def _report(window: Window, before: LoadProbe, after: LoadProbe, found: _Tally, own_s: float) -> LoadReport:
    return LoadReport(
        model=after.model,
        version=after.version,
        engine=after.engine,
        way=MQTT,
        warm_up_s=window.warm_up_s,
        seconds=found.seconds,
        connections=window.connections,
        request_bytes=len(before.request.encode()),
        requests=found.requests,
        sent=found.sent,
        errors=found.errors,
        latencies=counted(found.latencies),
        generator_cpu_s=own_s,
        rate_per_s=window.rate_per_s,
        arrivals=window.arrivals if window.rate_per_s is not None else None,
        late=counted(found.late),
        waited=found.waited,
        server_cpu_s=_since(before.cpu_s, after.cpu_s),
        server_rss_bytes=after.rss_bytes,
        server_pss_bytes=after.pss_bytes,
        server_peak_bytes=after.peak_bytes,
        temperature_c_before=before.temperature_c,
        temperature_c=after.temperature_c,
        throttled_before=before.throttled,
        throttled=after.throttled,
        inferences=_since(before.inferences, after.inferences),
        executions=_since(before.executions, after.executions),
        cut=found.cut,
    )


def _since(before: Number | None, after: Number | None) -> Number | None:
    return after - before if before is not None and after is not None else None
