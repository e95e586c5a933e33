"""Boards, a network that loses, doubles and reorders, a collector that crashes: every item is stored once, or stated.

A board here follows the contract (`agent.contract.messages`): it numbers what it measures, keeps it until it is
acknowledged, drops the oldest when it must, and sends from the first unacknowledged one on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.telemetry import query
from edge.telemetry.ingest import Received, StreamAck
from tests.telemetry.boards import BOOT, OTHER_BOOT, event, open_store, telemetry


class Boot:
    """The outbox of one start of the agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.made = self.acknowledged = 0
        self.kinds: dict[int, str] = {}
        self.gaps: list[tuple[int, int]] = []

    def waiting(self) -> list[int]:
        dropped = {n for first, last in self.gaps for n in range(first, last + 1)}
        return [n for n in range(self.acknowledged + 1, self.made + 1) if n not in dropped]

    def drop(self, number: int) -> None:
        """Drop one item; neighbours are stated together."""
        before = next((gap for gap in self.gaps if gap[1] == number - 1), None)
        self.gaps = [gap for gap in self.gaps if gap != before] + [(before[0] if before else number, number)]

    def messages(self) -> list[Received]:
        """All that waits, as messages: samples in batches of three at most, an event by itself."""
        gaps = [gap for gap in self.gaps if gap[1] > self.acknowledged]
        fields = {"boot": self.name, "gaps": gaps, "acknowledged": self.acknowledged}
        found: list[Received] = []
        batch: list[int] = []
        for number in [*self.waiting(), None]:
            ends = number is None or self.kinds[number] == "event" or (batch and number != batch[-1] + 1)
            if batch and (ends or len(batch) == 3):
                found.append(telemetry(batch, **fields))
                batch = []
            if number is not None and self.kinds[number] == "event":
                found.append(event(number, **fields))
            elif number is not None:
                batch.append(number)
        return found or ([telemetry([], **fields)] if gaps else [])


class Telemetry(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "store.sqlite"
        self.store = open_store(self.path)
        self.boots = {name: Boot(name) for name in (BOOT, OTHER_BOOT)}
        self.network: list[Received] = []
        self.acks: list[StreamAck] = []

    def teardown(self) -> None:
        for boot in self.boots.values():
            while boot.messages():
                before = boot.acknowledged
                self._take(boot.messages())
                self._acknowledge(self.acks.pop())
                assert boot.acknowledged > before, "a board that sends in order gets on"
        self.exactly_once()
        assert {s.boot: s.high_water for s in query.streams(self.store)} == {
            boot.name: boot.made for boot in self.boots.values() if boot.made
        }
        self.store.close()
        self.folder.cleanup()

    @rule(
        boot=st.sampled_from([BOOT, OTHER_BOOT]),
        kinds=st.lists(st.sampled_from(["sample"] * 4 + ["event"]), max_size=6),
    )
    def measure(self, boot: str, kinds: list[str]) -> None:
        for kind in kinds:
            self.boots[boot].made += 1
            self.boots[boot].kinds[self.boots[boot].made] = kind

    @rule(boot=st.sampled_from([BOOT, OTHER_BOOT]), count=st.integers(1, 4))
    def drop_the_oldest(self, boot: str, count: int) -> None:
        waiting = self.boots[boot].waiting()[:count]
        if waiting and self.boots[boot].messages():
            for number in waiting:
                self.boots[boot].drop(number)

    @rule(boot=st.sampled_from([BOOT, OTHER_BOOT]))
    def send(self, boot: str) -> None:
        self.network += self.boots[boot].messages()

    @precondition(lambda self: self.network)
    @rule(data=st.data(), crash=st.booleans())
    def arrive(self, data: st.DataObject, crash: bool) -> None:
        batch = data.draw(st.lists(st.sampled_from(range(len(self.network))), min_size=1, max_size=6))
        self._take([self.network[index] for index in batch])
        if crash:  # committed, and nobody was told
            self.acks.clear()
            self.store.close()
            self.store = open_store(self.path)

    @precondition(lambda self: self.acks)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        self._acknowledge(data.draw(st.sampled_from(self.acks)))

    @rule()
    def lose_all_on_the_way(self) -> None:
        self.network.clear()
        self.acks.clear()

    @invariant()
    def exactly_once(self) -> None:
        rows = [(r.boot, r.seq) for r in (*query.samples(self.store), *query.events(self.store))]
        stated = [(m.boot, n) for m in query.missing(self.store) for n in range(m.first, m.last + 1)]
        there = rows + stated
        assert len(set(there)) == len(there), "twice"
        for stream in query.streams(self.store):
            assert sorted(n for boot, n in there if boot == stream.boot) == list(
                range(1, stream.high_water + 1)
            )
            assert stream.high_water == stream.samples + stream.events + stream.gaps + stream.breaks
            assert stream.breaks == 0
        for boot, number in stated:
            assert any(first <= number <= last for first, last in self.boots[boot].gaps)

    def _take(self, batch: list[Received]) -> None:
        done = self.store.ingest(batch)
        assert done.refused == ()
        self.acks += done.acks

    def _acknowledge(self, ack: StreamAck) -> None:
        boot = self.boots[ack.boot]
        boot.acknowledged = max(boot.acknowledged, ack.seq)


TestTelemetry = Telemetry.TestCase
TestTelemetry.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
