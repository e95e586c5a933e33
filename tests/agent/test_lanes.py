"""The threads that run a slow model: real engines, an event loop, and clients that come, wait and go away."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.contract.errors import BoardStrained, EdgeError, InferenceFailed, Overloaded, RequestExpired
from agent.metrics import ModelMetrics
from agent.models import Model, open_bundle
from agent.serving.lanes import Lanes
from agent.serving.pace import Curve, Pace
from agent.serving.preparing import Prepared, prepare
from agent.serving.queue import Bounds
from agent.serving.strain import Strain
from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard, digits
from tests.agent.slow_models import INPUTS, OUTPUTS, write_gathering, write_mixing, write_slow

Array = NDArray[Any]
WIDE = Bounds(requests=1000, size_bytes=1 << 30)
STEEP = Curve(fixed_s=1e-2, sample_s=1e-3, largest=32)
"""Told, not measured: what is tested must not hang on what else the machine does."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> TestBoard:
    return TestBoard(tmp_path_factory.mktemp("lanes") / "board")


def opened(board: TestBoard, digest: str) -> Model:
    return Model(open_bundle(board.root / "objects" / digest, expected=digest))


def golden(count: int = 40) -> GoldenSet:
    return GoldenSet(inputs=(np.random.default_rng(1).standard_normal((count, 64)).astype(np.float32),))


@pytest.fixture(scope="module")
def slow(board: TestBoard) -> Iterator[Prepared]:
    """A model of some milliseconds, whose samples may run together."""
    file = write_slow(board.root / "slow.onnx", layers=24)
    digest = board.bundle(name="slow", model_file=file, golden=golden(), inputs=INPUTS, outputs=OUTPUTS)
    prepared = prepare(opened(board, digest))
    assert prepared.joins
    assert not prepared.quick
    yield replace(prepared, curve=STEEP)
    prepared.close()


class Clients:
    """Asks one model's lanes, each request with its own sample.

    Attributes:
        samples: one for each of 40 clients. order: who was answered, in order.
    """

    def __init__(self, prepared: Prepared, bounds: Bounds = WIDE, *, budget_s: float | None = None) -> None:
        self.metrics = ModelMetrics()
        self.pace = Pace(prepared.curve, budget_s=budget_s, batches=prepared.joins)
        self.lanes = Lanes("slow", prepared, self.pace, bounds, self.metrics)
        self.samples = np.random.default_rng(2).standard_normal((40, 1, 64)).astype(np.float32)
        self.order: list[int] = []

    async def ask(self, number: int, **how: Any) -> list[Array] | EdgeError:
        try:
            outputs = await self.lanes.answer([self.samples[number]], **how)
        except EdgeError as error:
            return error
        self.order.append(number)
        return outputs

    def run(self, work: Callable[[Clients], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            try:
                return await work(self)
            finally:
                self.lanes.end()

        return asyncio.run(whole())


def test_requests_that_wait_together_run_together_and_each_gets_its_own_answer(slow: Prepared) -> None:
    clients = Clients(slow, budget_s=10.0)
    alone = [slow.model.answer([sample]) for sample in clients.samples]

    answers = clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(40))))

    for answer, expected in zip(answers, alone, strict=True):
        np.testing.assert_allclose(answer[0], expected[0], rtol=0, atol=1e-6)
    assert clients.metrics.batches < 10
    assert clients.metrics.samples == 40
    assert sum(size * runs.count for size, runs in clients.metrics.sizes.items()) == 40
    assert sum(runs.count for runs in clients.metrics.sizes.values()) == clients.metrics.batches


def test_what_was_answered_is_not_kept_until_the_next_request(slow: Prepared) -> None:
    clients = Clients(slow)

    async def work(all: Clients) -> Any:
        outputs = await all.ask(0)
        assert isinstance(outputs, list)
        kept = weakref.ref(outputs[0])
        del outputs
        end = monotonic() + 5
        while kept() is not None and monotonic() < end:
            await asyncio.sleep(0.01)
        return kept()

    assert clients.run(work) is None


def test_a_full_queue_says_no_with_the_time_that_it_takes_to_drain(slow: Prepared) -> None:
    clients = Clients(slow, Bounds(requests=10, size_bytes=1 << 30))

    answers = clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(30))))

    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == 19
    assert all(error.facts["retry_after_s"] >= 1 for error in refused)
    assert len(clients.order) == 11


def test_a_queue_is_bounded_in_bytes_too(slow: Prepared) -> None:
    clients = Clients(slow, Bounds(requests=1000, size_bytes=5 * 64 * 4))

    answers = clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(30))))

    assert sum(isinstance(answer, Overloaded) for answer in answers) == 24


def test_what_has_expired_is_told_so_in_time_and_not_run(slow: Prepared) -> None:
    clients = Clients(replace(slow, joins=False))

    async def work(all: Clients) -> tuple[list[Any], Any, int]:
        others = [asyncio.create_task(all.ask(number)) for number in range(20)]
        await asyncio.sleep(0)
        late = await all.ask(39, deadline=monotonic() + slow.run_s)
        answered = len(all.order)
        return await asyncio.gather(*others), late, answered

    answers, late, answered = clients.run(work)

    assert isinstance(late, RequestExpired)
    assert answered < 20
    assert not any(isinstance(answer, EdgeError) for answer in answers)
    assert clients.metrics.samples == 20


def test_what_nobody_waits_for_any_more_is_not_run(slow: Prepared) -> None:
    clients = Clients(replace(slow, joins=False))

    async def work(all: Clients) -> Any:
        gone = [asyncio.create_task(all.ask(number)) for number in range(30)]
        await asyncio.sleep(0)
        for task in gone[5:]:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        return all.lanes.waiting

    assert clients.run(work) == 0
    assert clients.metrics.samples == 5


def test_the_highest_priority_is_answered_before_those_that_came_earlier(slow: Prepared) -> None:
    clients = Clients(replace(slow, joins=False))

    async def work(all: Clients) -> None:
        tasks = [asyncio.create_task(all.ask(number, priority=2 * (number % 2))) for number in range(10)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(all.ask(30, priority=1)))
        await asyncio.gather(*tasks)

    clients.run(work)

    assert clients.order[:2] == [0, 30]
    assert sorted(clients.order) == [*range(10), 30]


def test_a_board_that_is_too_hot_answers_one_at_a_time_and_lets_none_wait(slow: Prepared) -> None:
    clients = Clients(slow)
    clients.lanes.bear(Strain(hot=True))

    async def work(all: Clients) -> Any:
        first = await asyncio.gather(*(all.ask(number) for number in range(5)))
        all.lanes.bear(Strain())
        return first, await asyncio.gather(*(all.ask(number) for number in range(5)))

    hot, cool = clients.run(work)

    assert [isinstance(answer, BoardStrained) for answer in hot] == [False, True, True, True, True]
    assert "is too hot" in str(hot[1])
    assert hot[1].facts["retry_after_s"] >= 1
    assert not any(isinstance(answer, EdgeError) for answer in cool)


def test_a_board_that_is_short_of_memory_makes_no_batches(slow: Prepared) -> None:
    clients = Clients(slow)
    clients.lanes.bear(Strain(short=True))

    clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(20))))

    assert list(clients.metrics.sizes) == [1]


def test_a_request_that_the_engine_refuses_harms_none_of_its_batch(board: TestBoard) -> None:
    file, inputs = write_gathering(board.root / "gathering.onnx")
    data = GoldenSet(inputs=(np.arange(4 * 64, dtype=np.int64).reshape(4, 64) % 7,))
    digest = board.bundle(name="gathering", model_file=file, golden=data, inputs=inputs, outputs=OUTPUTS)
    prepared = prepare(opened(board, digest))
    clients = Clients(replace(prepared, curve=STEEP))
    clients.samples = np.arange(40 * 64, dtype=np.int64).reshape(40, 1, 64) % 10
    clients.samples[3] = 77

    answers = clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(8))))

    assert [number for number in range(8) if isinstance(answers[number], InferenceFailed)] == [3]
    assert clients.metrics.batches < 8


ALIKE = {
    "others": golden(),
    "alike": GoldenSet(inputs=(np.ones((4, 64), np.float32),)),
    "nothing but zeroes": GoldenSet(inputs=(np.zeros((4, 64), np.float32),)),
}


@pytest.mark.parametrize("samples", ALIKE.values(), ids=ALIKE)
def test_a_model_whose_samples_depend_on_their_company_is_never_given_any(
    board: TestBoard, samples: GoldenSet
) -> None:
    file = write_mixing(board.root / "mixing.onnx")
    digest = board.bundle(name="mixing", model_file=file, golden=samples, inputs=INPUTS, outputs=OUTPUTS)

    assert not prepare(opened(board, digest)).joins


def test_an_interpreter_that_is_no_matter_for_two_threads_gets_company(board: TestBoard) -> None:
    model = opened(board, board.digits_int8())
    other = model.another()
    assert other is not model
    prepared = replace(prepare(model), run_s=1.0, instances=(model, other))
    clients = Clients(prepared)
    clients.samples = digits()[:, None, :]
    expected = [model.answer([sample])[0] for sample in clients.samples]

    answers = clients.run(lambda all: asyncio.gather(*(all.ask(number) for number in range(40))))

    for answer, right in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer[0], right)
    prepared.close()
