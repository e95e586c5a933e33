"""The outbox: no number is ever lost without a word, whatever comes in between."""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.contract.errors import OutboxFailed
from agent.contract.samples import Gap
from agent.link.outbox import RETRY_S, Outbox, Pending
from agent.link.outbox_file import FILE, ITEM_BYTES, TORN_FILE

BOUND = 4000
BOOT = "00112233aabbccdd"
_MASK = (1 << 40) - 1


def outbox_in(folder: Path, boot: str = BOOT, bound_bytes: int = 1 << 20) -> Outbox:
    return Outbox(folder, boot=boot, os_boot="this one", bound_bytes=bound_bytes)


def everything(outbox: Outbox) -> list[Pending]:
    """All messages that would be sent, in order."""
    found: list[Pending] = []
    while (pending := outbox.pending(found[-1].place if found else 0)) is not None:
        found.append(pending)
    return found


def held(path: Path, boot: str) -> tuple[dict[int, int], set[int], int, int]:
    """Items with their kind, numbers in gaps, acknowledged and given: read from outside, while it is in use."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        query = "SELECT number, acknowledged, given FROM streams WHERE boot = ?"
        number, acknowledged, given = file.execute(query, (boot,)).fetchone()
        span = (number << 40, number + 1 << 40)
        items = {
            place & _MASK: kind
            for place, kind in file.execute("SELECT place, kind FROM items WHERE place BETWEEN ? AND ?", span)
        }
        gaps: set[int] = set()
        for first, last in file.execute("SELECT first, last FROM gaps WHERE first BETWEEN ? AND ?", span):
            numbers = set(range(first & _MASK, (last & _MASK) + 1))
            assert not gaps & numbers
            gaps |= numbers
        return items, gaps, acknowledged, given


class Life(RuleBasedStateMachine):
    """Starts of an agent, one after the other, against a model that remembers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.given: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        self.events: set[tuple[str, int]] = set()

    @initialize()
    def begin(self) -> None:
        self.next_boot()

    def next_boot(self) -> None:
        self.boot = f"{len(self.given):016x}"
        self.given[self.boot] = self.acknowledged[self.boot] = 0
        self.outbox = outbox_in(self.path, self.boot, BOUND)

    @rule(length=st.integers(2, 900))
    def sample(self, length: int) -> None:
        self.given[self.boot] += 1
        assert self.outbox.add_sample(b"s" * length) == self.given[self.boot]

    @rule(length=st.integers(2, 900))
    def event(self, length: int) -> None:
        self.given[self.boot] += 1
        number = self.outbox.add_event(b"e" * length, report=f"{self.boot} {length}")
        assert number == self.given[self.boot]
        assert self.outbox.said == f"{self.boot} {length}"
        self.events.add((self.boot, number))

    @rule(data=st.data(), seq=st.integers(0, 60))
    def acknowledge(self, data: st.DataObject, seq: int) -> None:
        boot = data.draw(st.sampled_from([*self.given, "of nobody"]))
        self.outbox.acknowledge(boot, seq)
        if boot in self.given:
            reached = min(seq, self.given[boot])
            self.acknowledged[boot] = max(self.acknowledged[boot], reached)

    @rule()
    def the_process_is_killed(self) -> None:
        self.outbox.close()
        self.next_boot()

    @rule()
    def the_file_is_let_go_of(self) -> None:
        self.outbox.close()

    @rule(bound=st.sampled_from([BOUND, BOUND // 2, BOUND * 2]))
    def the_bound_is_changed(self, bound: int) -> None:
        self.outbox.bound_bytes = bound

    @invariant()
    def every_number_is_accounted_for(self) -> None:
        for boot, given in self.given.items():
            if not given:
                continue
            items, gaps, acknowledged, highest = held(self.outbox.path, boot)
            assert (acknowledged, highest) == (self.acknowledged[boot], given)
            assert not items.keys() & gaps
            assert items.keys() | gaps == set(range(acknowledged + 1, given + 1))
            assert {number for number, kind in items.items() if kind} == {
                number for name, number in self.events if name == boot and number > acknowledged
            }

    @invariant()
    def what_is_sent_is_what_is_held(self) -> None:
        """A collector that knows nothing but what was acknowledged can take all, in this order, without a hole."""
        high = dict(self.acknowledged)
        for pending in everything(self.outbox):
            gaps = {number for gap in pending.gaps for number in range(gap.first, gap.last + 1)}
            numbers = [number for number, _ in pending.items]
            assert pending.acknowledged == self.acknowledged[pending.boot]
            for number in [*numbers, None]:
                while high[pending.boot] + 1 in gaps:
                    high[pending.boot] += 1
                if number is not None:
                    assert number == high[pending.boot] + 1
                    high[pending.boot] = number
        assert high == self.given

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_oldest_samples_go_first_and_the_gap_says_which(tmp_path: Path) -> None:
    outbox = outbox_in(tmp_path, bound_bytes=10 * (100 + ITEM_BYTES))
    for _ in range(25):
        outbox.add_sample(b"s" * 100)

    items, gaps, _, given = held(outbox.path, BOOT)

    assert given == 25
    assert 8 <= len(items) <= 10
    assert gaps == set(range(1, 25 - len(items) + 1))
    assert everything(outbox)[0].gaps == (Gap(1, 25 - len(items)),)


def test_where_only_events_are_left_new_samples_are_dropped_and_events_never(tmp_path: Path) -> None:
    outbox = outbox_in(tmp_path, bound_bytes=1000)
    outbox.add_sample(b"s" * 100)
    for number in range(20):
        outbox.add_event(b"e" * 100, report=str(number))
    outbox.add_sample(b"s" * 100)
    outbox.add_sample(b"s" * 100)

    items, gaps, _, given = held(outbox.path, BOOT)

    assert given == 23
    assert set(items) == set(range(2, 22))
    assert gaps == {1, 22, 23}
    last = everything(outbox)[-1]
    assert (last.items, last.gaps) == ((), (Gap(22, 23),))


def test_a_batch_ends_before_an_event_and_before_another_boot(tmp_path: Path) -> None:
    first = outbox_in(tmp_path, "a" * 16)
    first.add_sample(b"1")
    first.close()
    outbox = outbox_in(tmp_path, "b" * 16)
    for _ in range(2):
        outbox.add_sample(b"2")
    outbox.add_event(b"3", report="")
    outbox.add_sample(b"4")

    found = [(one.boot[0], [number for number, _ in one.items], one.event) for one in everything(outbox)]

    assert found == [("a", [1], False), ("b", [1, 2], False), ("b", [3], True), ("b", [4], False)]


@contextmanager
def full_drive(limit_bytes: int) -> Iterator[None]:
    """Files of this process can't grow beyond a length, which SQLite sees like a full drive."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_drive_could_not_take_is_a_gap_afterwards(tmp_path: Path) -> None:
    outbox = outbox_in(tmp_path)
    failed = 0
    with full_drive(300_000):
        for _ in range(100):
            try:
                outbox.add_sample(b"s" * 8000)
            except OutboxFailed:
                failed += 1
    assert 0 < failed < 100
    time.sleep(RETRY_S)

    assert outbox.add_sample(b"s") == 101

    items, gaps, _, given = held(outbox.path, BOOT)
    assert given == 101
    assert len(gaps) == failed
    assert items.keys() | gaps == set(range(1, 102))


def test_a_torn_file_is_put_aside_and_what_it_held_of_this_boot_is_a_gap(tmp_path: Path) -> None:
    outbox = outbox_in(tmp_path)
    for _ in range(5):
        outbox.add_sample(b"s" * 5000)
    outbox.acknowledge(BOOT, 2)
    outbox.close()
    (tmp_path / FILE).write_bytes(b"torn" * 5000)

    with pytest.raises(OutboxFailed, match="put aside"):
        outbox.add_sample(b"s")
    number = outbox.add_sample(b"s")

    items, gaps, acknowledged, given = held(outbox.path, BOOT)
    assert (number, given, acknowledged) == (7, 7, 2)
    assert (set(items), gaps) == ({7}, {3, 4, 5, 6})
    assert (tmp_path / TORN_FILE).read_bytes().startswith(b"torn")


def test_a_newer_agents_file_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute("PRAGMA user_version = 7")

    with pytest.raises(OutboxFailed, match="newer agent wrote it, version 7"):
        outbox_in(tmp_path).add_sample(b"s")

    assert not (tmp_path / TORN_FILE).exists()


def test_a_file_that_can_not_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(OutboxFailed):
        outbox_in(tmp_path).add_sample(b"s")


def test_a_boot_of_another_start_of_the_system_has_other_seconds(tmp_path: Path) -> None:
    first = Outbox(tmp_path, boot="a" * 16, os_boot="the one before")
    first.add_sample(b"1")
    first.close()
    outbox = outbox_in(tmp_path, "b" * 16)
    outbox.add_sample(b"2")

    assert [one.same_os_boot for one in everything(outbox)] == [False, True]
