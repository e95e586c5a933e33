"""The threads that run one model, and the queue before them.

The rule: a lane never waits while a request does; it takes what waits, up to the pace's batch, when it is free. What
nobody waits for any more is not run: requests that have expired, or whose client has gone. A batch that fails is run
again request by request, so that none fails for another. All but the runs themselves is the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from agent.contract.errors import (
    BoardStrained,
    EdgeError,
    InferenceFailed,
    ModelUnavailable,
    Overloaded,
    RequestExpired,
)
from agent.serving.queue import Bounds, Entry, Queue, level_of
from agent.serving.strain import Ease, Strain, ease
from agent.signals import leave_signals

if TYPE_CHECKING:
    from agent.metrics import ModelMetrics
    from agent.models import Model
    from agent.serving.pace import Pace
    from agent.serving.preparing import Prepared
    from agent.serving.tensors import Array

LOG = logging.getLogger("agent")
SMOOTHING = 0.2
"""Weight of the newest run in what a sample takes."""


@dataclass(frozen=True)
class Ran:
    """One run of the engine, as its thread tells it.

    Attributes:
        outcomes: one for each request of the batch.
        began: monotonic seconds when the thread took it up. joined_s: seconds of putting the inputs together.
        run_s, cpu_s: seconds of the engine, by the wall and of this thread.
    """

    outcomes: Sequence[list[Array] | EdgeError]
    began: float
    joined_s: float
    run_s: float
    cpu_s: float


@dataclass(frozen=True)
class Pending:
    """A client's request: its tensors, and where its answer goes with the run that gave it."""

    arrays: Sequence[Array]
    future: asyncio.Future[tuple[list[Array], Ran]]


class Lanes:
    """Has requests run, in threads that are started with the first one.

    Args:
        name: of the model. prepared: with an instance for each lane. pace: of its batches.
        bounds: of what may wait. metrics: of the model.

    Attributes:
        busy: the model runs here, and can't be run elsewhere meanwhile.
    """

    def __init__(
        self, name: str, prepared: Prepared, pace: Pace, bounds: Bounds, metrics: ModelMetrics
    ) -> None:
        self._name = name
        self._instances = prepared.instances
        self._concurrent = prepared.model.concurrent
        self.busy = False
        self._pace = pace
        self._bounds = bounds
        self._metrics = metrics
        self._queue: Queue[Pending] = Queue(bounds)
        self._strain = Strain()
        self._ease = Ease()
        self._sample_s = prepared.run_s
        self._running: dict[int, list[Entry[Pending]]] = {}
        self._resting: set[int] = set()
        self._work: list[SimpleQueue[list[Entry[Pending]] | None]] = []
        self._ended = False

    @property
    def waiting(self) -> int:
        """Requests that wait or run."""
        return len(self._queue) + sum(map(len, self._running.values()))

    @property
    def samples(self) -> int:
        """Of the next batch, at most."""
        return self._pace.samples if self._ease.joins else 1

    @property
    def drain_s(self) -> float:
        """Seconds until what waits and runs now is answered, by what runs took so far."""
        running = sum(entry.samples for batch in self._running.values() for entry in batch)
        return (self._queue.samples + running) * self._sample_s * (1 + self._ease.rest) / self._open_lanes

    def bear(self, strain: Strain) -> None:
        """The board's state has changed."""
        self._strain, self._ease = strain, ease(strain)
        part = self._ease.waiting
        self._queue.bounds = Bounds(int(self._bounds.requests * part), int(self._bounds.size_bytes * part))
        self._fill()

    async def answer(
        self, arrays: Sequence[Array], *, deadline: float | None = None, priority: int = 0
    ) -> list[Array]:
        """Answer one request. See `Served.run`."""
        if self._ended:
            raise ModelUnavailable(model=self._name)
        loop = asyncio.get_running_loop()
        size_bytes = sum(array.nbytes for array in arrays)
        kind = tuple((array.dtype.char, array.shape[1:]) for array in arrays) if self._pace.batches else None
        entry = Entry(
            Pending(arrays, loop.create_future()), len(arrays[0]), size_bytes, time.monotonic(), deadline,
            level_of(priority), kind,
        )  # fmt: skip
        self._admit(entry)
        timer = loop.call_at(deadline, self._expire, entry) if deadline is not None else None
        try:
            outputs, ran = await entry.payload.future
        except asyncio.CancelledError:
            self._queue.discard(entry)  # the client has gone: nobody waits for it any more
            raise
        finally:
            if timer is not None:
                timer.cancel()
        self._metrics.queue_s += ran.began - entry.arrived
        self._metrics.input_s += ran.joined_s
        self._metrics.infer_s += ran.run_s
        return outputs

    def end(self) -> None:
        """Refuse what waits, and let the threads end with what they run."""
        self._ended = True
        for entry in self._queue.clear():
            _settle(entry, ModelUnavailable(model=self._name))
        for work in self._work:
            work.put(None)

    # --- on the event loop

    @property
    def _open_lanes(self) -> int:
        return min(len(self._instances), self._ease.lanes or len(self._instances))

    def _free(self) -> int | None:
        """A lane that can begin now."""
        if len(self._running) + len(self._resting) >= self._open_lanes:
            return None
        return next(
            lane
            for lane in range(len(self._instances))
            if lane not in self._running and lane not in self._resting
        )

    def _admit(self, entry: Entry[Pending]) -> None:
        lane = self._free()
        if lane is not None and not len(self._queue):
            self._start(lane, [entry])
        elif not self._queue.put(entry):
            raise self._refusal()

    def _refusal(self) -> EdgeError:
        retry_after_s = max(1, math.ceil(self.drain_s))
        if self._ease.waiting < 1:
            condition = self._strain.condition
            return BoardStrained(model=self._name, condition=condition, retry_after_s=retry_after_s)
        return Overloaded(model=self._name, retry_after_s=retry_after_s)

    def _expire(self, entry: Entry[Pending]) -> None:
        if self._queue.discard(entry):
            _settle(entry, RequestExpired(model=self._name))

    def _fill(self) -> None:
        """Have every free lane take what waits."""
        while len(self._queue) and not self._ended and (lane := self._free()) is not None:
            batch, expired = self._queue.take(self.samples, time.monotonic())
            for entry in expired:
                _settle(entry, RequestExpired(model=self._name))
            if batch:
                self._start(lane, batch)

    def _start(self, lane: int, batch: list[Entry[Pending]]) -> None:
        if not self._work:
            self._open(asyncio.get_running_loop())
        self._running[lane] = batch
        self.busy = not self._concurrent
        self._work[lane].put(batch)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        for lane, instance in enumerate(self._instances):
            work: SimpleQueue[list[Entry[Pending]] | None] = SimpleQueue()
            self._work.append(work)
            threading.Thread(
                target=self._serve,
                args=(loop, lane, instance, work),
                name=f"{self._name}-{lane}",
                daemon=True,
            ).start()

    def _ran(self, lane: int, ran: Ran) -> None:
        batch = self._running.pop(lane)
        self.busy = bool(self._running) and not self._concurrent
        samples = sum(entry.samples for entry in batch)
        self._sample_s += SMOOTHING * (ran.run_s / samples - self._sample_s)
        self._pace.ran(samples, ran.run_s)
        self._metrics.began = ran.began
        self._metrics.ran_for(samples, ran.run_s, ran.cpu_s)
        rest_s = ran.run_s * self._ease.rest
        if rest_s:
            self._resting.add(lane)
            asyncio.get_running_loop().call_later(rest_s, self._rested, lane)
        else:
            self._fill()
        for entry, outcome in zip(batch, ran.outcomes):  # noqa: B905 - one outcome each
            _settle(entry, outcome if isinstance(outcome, EdgeError) else (outcome, ran))

    def _rested(self, lane: int) -> None:
        self._resting.discard(lane)
        self._fill()

    # --- in a lane's thread

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        lane: int,
        model: Model,
        work: SimpleQueue[list[Entry[Pending]] | None],
    ) -> None:
        leave_signals()
        while (batch := work.get()) is not None:
            ran = _run(model, [entry.payload.arrays for entry in batch])
            try:
                loop.call_soon_threadsafe(self._ran, lane, ran)
            except RuntimeError:  # the loop has been closed meanwhile: nobody waits
                return
            del batch, ran  # their tensors are not kept until the next one


def _settle(entry: Entry[Pending], outcome: tuple[list[Array], Ran] | EdgeError) -> None:
    future = entry.payload.future
    if future.done():
        return
    if isinstance(outcome, EdgeError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _run(model: Model, requests: Sequence[Sequence[Array]]) -> Ran:
    """Run a batch, and where it fails each request alone."""
    began = time.monotonic()
    joined = _joined(requests)
    joined_s = time.monotonic() - began
    cpu_s = time.thread_time()
    outputs = _answer(model, joined)
    cpu_s = time.thread_time() - cpu_s
    run_s = time.monotonic() - began - joined_s
    if len(requests) == 1:
        return Ran([outputs], began, joined_s, run_s, cpu_s)
    if isinstance(outputs, EdgeError):
        return Ran([_answer(model, each) for each in requests], began, joined_s, run_s, cpu_s)
    return Ran(_parted(outputs, requests), began, joined_s, run_s, cpu_s)


def _answer(model: Model, arrays: Sequence[Array]) -> list[Array] | EdgeError:
    try:
        return model.answer(arrays)
    except EdgeError as error:
        return error
    except Exception as error:  # an engine that breaks its word must not end the lane
        LOG.exception("%s failed on a request", model.bundle.manifest.model)
        return InferenceFailed(model=model.bundle.manifest.model, reason=type(error).__name__)


def _joined(requests: Sequence[Sequence[Array]]) -> Sequence[Array]:
    if len(requests) == 1:
        return requests[0]
    import numpy as np

    return [np.concatenate(arrays) for arrays in zip(*requests)]  # noqa: B905 - each has all inputs


def _parted(outputs: Sequence[Array], requests: Sequence[Sequence[Array]]) -> list[list[Array]]:
    parts: list[list[Array]] = []
    start = 0
    for request in requests:
        end = start + len(request[0])
        parts.append([output[start:end] for output in outputs])
        start = end
    return parts
