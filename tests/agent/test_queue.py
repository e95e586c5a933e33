"""The queue before a model, as a state machine without a clock."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.serving.queue import LOWEST, OVERTAKING, Bounds, Entry, Queue, level_of

BOUNDS = Bounds(requests=8, size_bytes=100)


class Waiting(RuleBasedStateMachine):
    """Whatever comes, waits, expires, goes away and is taken: nobody is lost, doubled, or overtaken too often."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[int] = Queue(BOUNDS)
        self.model: list[Entry[int]] = []
        self.overtaken: dict[int, int] = {}
        self.now = 0.0
        self.number = 0

    @rule(
        samples=st.integers(1, 6),
        size_bytes=st.integers(0, 60),
        level=st.integers(1, LOWEST),
        kind=st.sampled_from("ab"),
        deadline=st.none() | st.floats(0, 5),
    )
    def comes(self, samples: int, size_bytes: int, level: int, kind: str, deadline: float | None) -> None:
        self.number += 1
        entry = Entry(
            self.number,
            samples,
            size_bytes,
            self.now,
            None if deadline is None else self.now + deadline,
            level,
            kind,
        )
        used = sum(each.size_bytes for each in self.model)
        fits = len(self.model) < BOUNDS.requests and (
            not self.model or used + size_bytes <= BOUNDS.size_bytes
        )
        assert self.queue.put(entry) == fits
        if fits:
            self.model.append(entry)
            self.overtaken[entry.payload] = 0

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def goes_away(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model))
        assert self.queue.discard(entry)
        assert not self.queue.discard(entry)
        self.model.remove(entry)

    @rule(most=st.integers(1, 12), later=st.floats(0, 2))
    def is_taken(self, most: int, later: float) -> None:
        self.now += later
        batch, expired = self.queue.take(most, self.now)
        for entry in (*batch, *expired):
            self.model.remove(entry)
        assert all(entry.deadline is not None and entry.deadline < self.now for entry in expired)
        assert all(entry.deadline is None or entry.deadline >= self.now for entry in batch)
        assert len({entry.kind for entry in batch}) <= 1
        assert len(batch) <= 1 or sum(entry.samples for entry in batch) <= most
        assert batch or not self.model
        assert [entry.level for entry in batch if entry.level == batch[0].level] or not batch
        for taken in batch:
            for entry in self.model:
                if entry.payload < taken.payload:
                    assert taken.level < entry.level
                    self.overtaken[entry.payload] += 1
                    assert self.overtaken[entry.payload] <= OVERTAKING * (entry.level - 1)

    @rule()
    def is_emptied(self) -> None:
        assert sorted(entry.payload for entry in self.queue.clear()) == sorted(e.payload for e in self.model)
        self.model = []

    @invariant()
    def sums_are_right(self) -> None:
        assert len(self.queue) == len(self.model)
        assert self.queue.samples == sum(entry.samples for entry in self.model)
        assert self.queue.size_bytes == sum(entry.size_bytes for entry in self.model)


Waiting.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
TestWaiting = Waiting.TestCase


def taken_one_by_one(queue: Queue[str]) -> list[str]:
    order: list[str] = []
    while len(queue):
        batch, _ = queue.take(1, 0.0)
        order += [entry.payload for entry in batch]
    return order


def test_a_better_priority_goes_first_and_equals_keep_their_order() -> None:
    queue: Queue[str] = Queue(Bounds(10, 10))
    for name, priority in (("low", 7), ("first", 0), ("second", 0), ("high", 1)):
        assert queue.put(Entry(name, level=level_of(priority)))

    assert taken_one_by_one(queue) == ["high", "first", "second", "low"]


def test_a_stream_of_better_requests_starves_nobody() -> None:
    queue: Queue[str] = Queue(Bounds(4, 4))
    assert queue.put(Entry("patient", level=level_of(0)))
    order: list[str] = []
    while "patient" not in order and len(order) < 1000:
        assert queue.put(Entry("urgent", level=level_of(1)))
        order += [entry.payload for entry in queue.take(1, 0.0)[0]]

    assert len(order) == OVERTAKING + 1


def test_a_request_larger_than_a_batch_or_than_all_bytes_runs_alone() -> None:
    queue: Queue[str] = Queue(Bounds(4, 10))
    assert queue.put(Entry("large", samples=100, size_bytes=50))
    assert not queue.put(Entry("small", size_bytes=1))

    batch, expired = queue.take(8, 0.0)

    assert ([entry.payload for entry in batch], expired) == (["large"], [])
