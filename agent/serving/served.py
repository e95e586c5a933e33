"""One model that is served, and the queue before it.

The rule: a model is used by one thread at a time. One that is measured to be quick runs on the event loop itself
(crossing to another thread would cost more than the run); a slow one, or a large batch, runs in the model's own
worker thread, behind a bounded queue that says no when it is full.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.errors import EdgeError, ModelUnavailable, Overloaded, RequestExpired
from agent.contract.names import parse_release
from agent.metrics import ModelMetrics, ModelSample

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from agent.contract.release import GenerationModel
    from agent.models import Model
    from agent.serving.tensors import Array

QUICK_S = 300e-6
"""A run below it is quick."""
LONGEST_INLINE_S = 2e-3
"""What one request may keep the event loop from others."""
QUEUE_BOUND = 64
"""Requests that may wait for one model."""
TIMING_RUNS = 21
TIMING_BUDGET_S = 1.0

LOADING, READY, FAILED = "loading", "ready", "failed"
UNLOADING, UNLOADED = "unloading", "unloaded"


class Served:
    """A model under the name that it is served by.

    Attributes:
        name, version, release, bundle: which.
        role, share: how it takes part, as in its `GenerationModel`.
        state: `loading`, `ready`, `failed` (`error` says why), `unloading` or `unloaded`.
        model: when it is ready.
        run_s: CPU seconds of one batch-1 run, measured when it was loaded.
        metrics: its counters. waiting: requests in its queue, the running one included.
    """

    def __init__(self, entry: GenerationModel) -> None:
        self.name = entry.name
        self.release = entry.release
        self.version = parse_release(entry.release)[1]
        self.bundle = entry.bundle
        self.role = entry.role.value
        self.share = entry.share
        self.state = LOADING
        self.error: EdgeError | None = None
        self.model: Model | None = None
        self.run_s = 0.0
        self.metrics = ModelMetrics()
        self.waiting = 0
        self._worker: ThreadPoolExecutor | None = None

    @property
    def quick(self) -> bool:
        """Whether batch-1 requests run on the event loop."""
        return self.run_s < QUICK_S

    def loaded(self, model: Model, run_s: float) -> None:
        """It can answer."""
        self.model, self.run_s, self.state = model, run_s, READY

    def failed(self, error: EdgeError) -> None:
        """It can't be served."""
        self.error, self.state = error, FAILED

    def run(
        self, arrays: Sequence[Array], *, deadline: float | None = None, priority: int = 0
    ) -> list[Array] | Awaitable[list[Array]]:
        """Answer one request: at once, or as something to wait for.

        Args:
            arrays: checked, in the order of the model's inputs.
            deadline: monotonic seconds after which it must not be run any more.
            priority: 1 is the highest, 0 the model's default.

        Raises:
            Overloaded: the queue is full.
            BoardStrained: it would have to wait, and the board is too hot or too full for that.
            RequestExpired: its deadline has passed.
            InferenceFailed: the engine said no.
        """
        model = self.model
        if model is None:
            raise ModelUnavailable(model=self.name)
        if deadline is not None and time.monotonic() > deadline:
            raise RequestExpired(model=self.name)
        samples = len(arrays[0])
        if not self.waiting and self.run_s < QUICK_S and samples * self.run_s < LONGEST_INLINE_S:
            # So short that it is CPU time; asking the kernel for that would cost more than it tells.
            began = time.perf_counter()
            outputs = model.answer(arrays)
            self.metrics.ran(samples, time.perf_counter() - began)
            return outputs
        if self.waiting >= QUEUE_BOUND:
            raise Overloaded(model=self.name)
        return self._in_worker(model, arrays)

    async def _in_worker(self, model: Model, arrays: Sequence[Array]) -> list[Array]:
        loop = asyncio.get_running_loop()
        if self._worker is None:
            from concurrent.futures import ThreadPoolExecutor  # a board of quick models never needs it

            self._worker = ThreadPoolExecutor(1, self.name, _leave_signals)
        self.waiting += 1
        future = self._worker.submit(_timed, model, arrays, time.perf_counter())
        # A request that is given up while it runs still holds its place until the engine is done.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        outputs, compute_s, waited_s = await asyncio.wrap_future(future)
        self.metrics.ran(len(arrays[0]), compute_s)
        self.metrics.queue_s += waited_s
        return outputs

    def _done(self) -> None:
        self.waiting -= 1

    def sample(self) -> ModelSample:
        """Its numbers for Prometheus."""
        return ModelSample(self.name, self.version, self.metrics, self.waiting)


def _leave_signals() -> None:
    """In a worker thread: signals are the event loop's matter."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def _timed(model: Model, arrays: Sequence[Array], submitted: float) -> tuple[list[Array], float, float]:
    waited_s = time.perf_counter() - submitted
    began = time.thread_time_ns()
    outputs = model.answer(arrays)
    return outputs, (time.thread_time_ns() - began) / 1e9, waited_s


def time_model(model: Model) -> float:
    """Run the golden set's first input, as a warm-up and until its time is known.

    Returns:
        CPU seconds of one batch-1 run: the median.

    Raises:
        EdgeError: the model does not run.
    """
    sample: list[Any] = model.first_golden()
    model.run(sample)
    times: list[int] = []
    end = time.thread_time() + TIMING_BUDGET_S
    while len(times) < TIMING_RUNS and (not times or time.thread_time() < end):
        began = time.thread_time_ns()
        model.run(sample)
        times.append(time.thread_time_ns() - began)
    return sorted(times)[len(times) // 2] / 1e9
