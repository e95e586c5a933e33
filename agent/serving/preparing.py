"""To measure a model before it is served: what a run takes, whether batches gain, and how many threads do.

The rule: decided by what is measured on this board, within `TIMING_BUDGET_S` and the agent's memory; where measuring
would cost more, the answer is the careful one: no batches, one thread. Requests run together only where the model
was seen to answer each as if it were alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.serving.pace import LEAST_GAIN, Curve, fit
from agent.system import rss_bytes

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.tensors import Array

QUICK_S = 300e-6
"""A run below it is quick: it costs less than to hand the request to another thread and back."""
SIZES = (1, 2, 4, 8, 16, 32)
RUNS, BATCH_RUNS = 21, 5
"""Of one sample, and of each larger batch, while the time allows."""
TIMING_BUDGET_S = 1.0
"""Of wall time for the curve; a model's first run, and one run of one sample, are not cut short."""
TOGETHER_S = 0.1
"""For seeing whether one more thread gains."""
TOLERANCE = 1e-3
"""Between a sample's outputs alone and in a batch, relative to the largest: engines sum in another order there."""


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to answer.

    Attributes:
        model: as it was loaded. run_s: CPU seconds of one batch-1 run.
        curve: of its batches. joins: requests may run together.
        instances: one for each thread that may run it, `model` first; the same one again where its engine allows that.
    """

    model: Model
    run_s: float
    curve: Curve
    joins: bool = False
    instances: tuple[Model, ...] = ()

    @property
    def quick(self) -> bool:
        """Whether requests run on the event loop."""
        return self.run_s < QUICK_S

    def close(self) -> None:
        """Give back what all instances hold."""
        for instance in {id(each): each for each in (self.model, *self.instances)}.values():
            instance.close()


def prepare(model: Model, *, threads: int = 1, memory_limit_bytes: int | None = None) -> Prepared:
    """Run the golden set's first inputs, as a warm-up and until their times are known. Not on the event loop.

    Args:
        model: just loaded.
        threads: that may run it at once, at most.
        memory_limit_bytes: of the process; further instances and larger batches are not tried beyond it.

    Raises:
        EdgeError: the model does not run.
    """
    rows = model.first_golden(SIZES[-1])
    alone = _rows(rows, model.fixed_batch or 1)
    model.run(alone)
    joins = model.fixed_batch is None and _answers_each_alone(model, rows)
    timed: list[tuple[int, float]] = []
    end = time.perf_counter() + TIMING_BUDGET_S
    before = rss_bytes()
    for size in SIZES if joins else SIZES[:1]:
        if timed and time.perf_counter() + 2 * timed[-1][1] > end:
            break
        arrays, runs = (_rows(rows, size), BATCH_RUNS) if timed else (alone, RUNS)
        timed.append((size, _quickest(model, arrays, runs, end)))
        grown = rss_bytes() - before
        if memory_limit_bytes is not None and before + 2 * grown > memory_limit_bytes:
            break
    run_s = timed[0][1]
    more = threads if run_s >= QUICK_S else 1
    instances = _instances(model, alone, more, memory_limit_bytes)
    return Prepared(model, run_s, fit(timed), joins, instances)


def _quickest(model: Model, arrays: Sequence[Array], runs: int, end: float) -> float:
    """Seconds of the quickest of some runs, as this thread's CPU time: a busy board must not make a model look slow."""
    times: list[float] = []
    stop = time.perf_counter() + (end - time.perf_counter()) / len(SIZES)
    while len(times) < runs and (not times or time.perf_counter() < stop):
        began = time.thread_time_ns()
        model.run(arrays)
        times.append((time.thread_time_ns() - began) / 1e9)
    return max(min(times), 1e-9)


def _rows(rows: Sequence[Array], count: int) -> list[Array]:
    """So many samples of the golden set, over again where it holds fewer."""
    import numpy as np

    return [np.ascontiguousarray(np.resize(array, (count, *array.shape[1:]))) for array in rows]


def _answers_each_alone(model: Model, rows: Sequence[Array]) -> bool:
    """Whether two samples in one batch get what each gets alone; a model may mix them, or put them on another axis."""
    import numpy as np

    first = [array[:1] for array in rows]
    others = [[array[place : place + 1] for array in rows] for place in range(1, len(rows[0]))]
    others.append([np.zeros_like(array) for array in first])
    # Samples that are alike would get the same in each other's company.
    other = next((each for each in others if not all(map(np.array_equal, first, each))), None)
    if other is None:
        return False
    apart = list(zip(model.run(first), model.run(other)))  # noqa: B905 - the same outputs twice
    together = model.run([np.concatenate(pair) for pair in zip(first, other)])  # noqa: B905 - the same inputs
    for whole, (one, two) in zip(together, apart):  # noqa: B905 - the same outputs
        if whole.shape[:1] != (2,) or one.shape[:1] != (1,) or two.shape[:1] != (1,):
            return False
        if whole[:1].shape != one.shape or whole[1:].shape != two.shape:
            return False
        scale = TOLERANCE * max(1e-6, float(np.abs(whole).max(initial=0)))
        if not np.allclose(whole, np.concatenate((one, two)), rtol=0, atol=scale, equal_nan=True):
            return False
    return True


def _instances(
    model: Model, arrays: Sequence[Array], threads: int, memory_limit_bytes: int | None
) -> tuple[Model, ...]:
    """One more instance, and one more, as long as each adds its part to what all do together and memory allows."""
    instances = [model]
    pace = _runs_per_second(instances, arrays) if threads > 1 else 0.0
    while len(instances) < threads:
        before = rss_bytes()
        more = model.another()
        if memory_limit_bytes is not None and 2 * rss_bytes() - before > memory_limit_bytes:
            faster = 0.0
        else:
            more.run(arrays)
            faster = _runs_per_second([*instances, more], arrays)
        if faster < pace * (1 + LEAST_GAIN):
            if more is not model:
                more.close()
            break
        instances.append(more)
        pace = faster
    return tuple(instances)


def _runs_per_second(instances: Sequence[Model], arrays: Sequence[Array]) -> float:
    """Of all instances at once, each in a thread of its own."""
    began = time.perf_counter()
    done: list[int] = []

    def work(instance: Model) -> None:
        runs = 0
        while not runs or time.perf_counter() - began < TOGETHER_S:
            instance.run(arrays)
            runs += 1
        done.append(runs)

    threads = [threading.Thread(target=work, args=(instance,)) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)
