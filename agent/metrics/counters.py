"""Counters of the models.

The rule: counters only grow, from the start of the process; they are changed by the event loop's thread alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.contract.errors import BoardStrained, InferenceFailed, Overloaded, RequestExpired
from agent.contract.sketch import Sketch, bucket

SIZES_KEPT = 64
ABANDONED = "request.abandoned"
"""Counted like an error's code: the client had gone."""
REASONS: Mapping[str, str] = {
    Overloaded.code: "REJECTED",
    BoardStrained.code: "REJECTED",
    RequestExpired.code: "REJECTED",
    ABANDONED: "CANCELED",
    InferenceFailed.code: "BACKEND",
}
"""What Triton calls the reason of a failure, by our code; all others are `OTHER`."""


class Distribution:
    """A sketch that is added to."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.total = 0.0

    def add(self, value: float) -> None:
        number = bucket(value)
        counts = self._counts
        counts[number] = counts.get(number, 0) + 1
        self.total += value

    def sketch(self) -> Sketch:
        """What was added so far."""
        return Sketch(**self.plain())

    def plain(self) -> dict[str, Any]:
        """The sketch as telemetry has it, without being checked again."""
        return {
            "counts": {str(number): count for number, count in self._counts.copy().items()},
            "total": self.total,
        }


class Runs:
    """Runs of one size. count: how many. run_s: seconds of the engine, together."""

    __slots__ = ("count", "run_s")

    def __init__(self) -> None:
        self.count = 0
        self.run_s = 0.0


class ModelMetrics:
    """One model's counters.

    Attributes:
        requests: answered or failed. errors: by error code. samples: inferred. batches: runs of the engine.
        sizes: the runs by their samples; beyond `SIZES_KEPT` sizes, what comes new is counted under 0.
        compute_s: seconds of CPU in the engine, each run once.
        input_s, queue_s, infer_s: seconds that answered requests spent being taken apart, waiting, and in the engine;
            a run counts for each request that it answers.
        began: monotonic seconds when the newest run began.
        compared, dropped: of a shadow: requests of its primary that it answered too, and that it had no time for.
        agreed: how far these answers agree with the primary's, 0 to 1 each, together.
        hits, misses: where answers are kept: requests that were answered by one, and that were not.
    """

    __slots__ = (
        "agreed", "batches", "began", "compared", "compute", "compute_s",
        "dropped", "errors", "hits", "infer_s", "input_s", "latency", "misses", "queue_s", "requests", "samples",
        "sizes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = self.samples = self.batches = 0
        self.compared = self.dropped = self.hits = self.misses = 0
        self.agreed = 0.0
        self.errors: dict[str, int] = {}
        self.sizes: dict[int, Runs] = {}
        self.compute_s = self.input_s = self.queue_s = self.infer_s = self.began = 0.0
        self.latency = Distribution()
        self.compute = Distribution()

    def ran(self, samples: int, began: float, run_s: float) -> None:
        """The engine ran once, on the event loop, for one request: all of the run is CPU time."""
        self.began = began
        self.infer_s += run_s
        self.ran_for(samples, run_s, run_s)

    def ran_for(self, samples: int, run_s: float, cpu_s: float) -> None:
        """The engine ran once, for whichever requests."""
        self.batches += 1
        self.samples += samples
        self.compute_s += cpu_s
        self.compute.add(cpu_s * 1000)
        runs = self.sizes.get(samples)
        if runs is None:
            key = samples if len(self.sizes) < SIZES_KEPT else 0
            runs = self.sizes.setdefault(key, Runs())
        runs.count += 1
        runs.run_s += run_s

    def answered(self, latency_s: float) -> None:
        """A request got its answer."""
        self.requests += 1
        self.latency.add(latency_s * 1000)

    def failed(self, code: str) -> None:
        """A request got an error, or nobody was there any more to get its answer."""
        self.requests += 1
        self.errors[code] = self.errors.get(code, 0) + 1

    @property
    def output_s(self) -> float:
        """Seconds that answered requests spent after the engine: the rest of their durations."""
        return max(0.0, self.latency.total / 1000 - self.input_s - self.queue_s - self.infer_s)

    def failures(self) -> dict[str, int]:
        """Requests that failed, by Triton's reasons."""
        found = dict.fromkeys(("REJECTED", "CANCELED", "BACKEND", "OTHER"), 0)
        for code, count in self.errors.copy().items():
            found[REASONS.get(code, "OTHER")] += count
        return found

    def plain(self, name: str, release: str, queue: int) -> dict[str, Any]:
        """The counters as telemetry has them: a `ModelCounters`, ready to be written.

        Any thread may ask: dictionaries are copied in one step of the interpreter.
        """
        return {
            "name": name,
            "release": release,
            "requests": self.requests,
            "errors": self.errors.copy(),
            "batches": self.batches,
            "queue": queue,
            "compute_s": self.compute_s,
            "latency_ms": self.latency.plain(),
            "compute_ms": self.compute.plain(),
            **self._as_shadow(),
        }

    def _as_shadow(self) -> dict[str, Any]:
        if not self.compared and not self.dropped:
            return {}
        return {"compared": self.compared, "agreed": self.agreed, "dropped": self.dropped}


class ModelSample(NamedTuple):
    """A model in the text for Prometheus.

    Attributes:
        queue: requests that wait or run. batch: samples that may run together now.
    """

    name: str
    version: int
    metrics: ModelMetrics
    queue: int
    batch: int = 1
