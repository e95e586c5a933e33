"""Counters of the serving agent, and their text for Prometheus.

The rule: counters only grow, from the start of the process; they are changed by the event loop's thread alone.
Beside our own names stand Triton's, so that dashboards made for it work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.contract.errors import BoardStrained, InferenceFailed, Overloaded, RequestExpired
from agent.contract.sketch import Sketch, bucket

if TYPE_CHECKING:
    from agent.contract.samples import BoardCounters

QUANTILES = (0.5, 0.95, 0.99)
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
    """

    __slots__ = (
        "agreed", "batches", "began", "compared", "compute", "compute_s",
        "dropped", "errors", "infer_s", "input_s", "latency", "queue_s", "requests", "samples", "sizes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = self.samples = self.batches = 0
        self.compared = self.dropped = 0
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


class Exposition:
    """Text in Prometheus' format, version 0.0.4, written family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(
        self, name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], float | None]]
    ) -> None:
        """One metric with its samples; those that are None are left out, and the metric when none is left."""
        lines = [
            f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples if value is not None
        ]
        if lines:
            self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *lines]

    def text(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()


def expose_board(to: Exposition, board: BoardCounters, facts: Iterable[tuple[str, str, float]]) -> None:
    """The board's and the agent's own numbers; `facts` are gauges of the agent: name, text, value."""
    here: Mapping[str, str] = {}
    for name, text, value in facts:
        to.family(f"edge_agent_{name}", "gauge", text, [(here, value)])
    to.family(
        "edge_agent_memory_bytes",
        "gauge",
        "Resident memory of the agent.",
        [(here, board.agent_memory_bytes)],
    )
    to.family(
        "edge_agent_cpu_seconds_total", "counter", "CPU time of the agent.", [(here, board.agent_cpu_s)]
    )
    to.family(
        "edge_board_cpu_seconds_total",
        "counter",
        "CPU time of all cores, idle excluded.",
        [(here, board.cpu_s)],
    )
    to.family(
        "edge_board_temperature_celsius", "gauge", "The hottest thermal zone.", [(here, board.temperature_c)]
    )
    to.family("edge_board_uptime_seconds", "gauge", "Since the board started.", [(here, board.uptime_s)])
    to.family(
        "edge_board_disk_free_bytes", "gauge", "Where the board's folder is.", [(here, board.disk_free_bytes)]
    )
    flags = None if board.throttled is None else int(board.throttled, 16)
    to.family("edge_board_throttled_flags", "gauge", "The firmware's flags, as a number.", [(here, flags)])
    to.family(
        "edge_board_network_bytes_total",
        "counter",
        "Of all interfaces but the loopback.",
        [
            ({"direction": "sent"}, board.network_sent_bytes),
            ({"direction": "received"}, board.network_received_bytes),
        ],
    )
    to.family(
        "nv_cpu_memory_total_bytes", "gauge", "Memory of the board.", [(here, board.memory_total_bytes)]
    )
    to.family("nv_cpu_memory_used_bytes", "gauge", "Memory in use.", [(here, board.memory_used_bytes)])


def expose_models(to: Exposition, models: Iterable[ModelSample]) -> None:
    """What the models did, under our names and under Triton's."""
    labelled = [({"model": model.name, "version": str(model.version)}, model) for model in models]
    to.family(
        "edge_model_requests_total",
        "counter",
        "Requests answered or failed.",
        [(labels, model.metrics.requests) for labels, model in labelled],
    )
    to.family(
        "edge_model_errors_total",
        "counter",
        "Requests that failed, by error code.",
        [
            ({**labels, "code": code}, count)
            for labels, model in labelled
            for code, count in model.metrics.errors.items()
        ],
    )
    for name, text, field in (
        ("edge_model_latency_ms", "From the whole request to its answer.", "latency"),
        ("edge_model_compute_ms", "CPU time of one run of the engine.", "compute"),
    ):
        sketches = [(labels, getattr(model.metrics, field).sketch()) for labels, model in labelled]
        to.family(
            name,
            "gauge",
            text,
            [
                ({**labels, "quantile": str(part)}, sketch.quantile(part))
                for labels, sketch in sketches
                for part in QUANTILES
            ],
        )
    shadows = [
        (labels, model.metrics)
        for labels, model in labelled
        if model.metrics.compared or model.metrics.dropped
    ]
    for name, text, field in (
        ("compared", "A shadow's answers that were compared with the primary's.", "compared"),
        ("agreement", "How far they agree, 0 to 1 each, together.", "agreed"),
        ("dropped", "Requests that a busy shadow was not asked.", "dropped"),
    ):
        to.family(
            f"edge_model_shadow_{name}_total",
            "counter",
            text,
            [(labels, getattr(metrics, field)) for labels, metrics in shadows],
        )
    to.family(
        "edge_model_batch_samples",
        "gauge",
        "Samples of requests that may run together now.",
        [(labels, model.batch) for labels, model in labelled],
    )
    to.family(
        "edge_model_runs_total",
        "counter",
        "Runs of the engine, by their samples.",
        [
            ({**labels, "samples": str(size)}, runs.count)
            for labels, model in labelled
            for size, runs in sorted(model.metrics.sizes.copy().items())
        ],
    )
    for name, kind, text, value in _TRITON:
        to.family(name, kind, text, [(labels, value(model)) for labels, model in labelled])
    to.family(
        "nv_inference_request_failure",
        "counter",
        "Requests that failed, by reason.",
        [
            ({**labels, "reason": reason}, count)
            for labels, model in labelled
            for reason, count in model.metrics.failures().items()
        ],
    )


_TRITON: tuple[tuple[str, str, str, Callable[[ModelSample], float]], ...] = (
    (
        "nv_inference_request_success",
        "counter",
        "Requests answered.",
        lambda model: model.metrics.requests - sum(model.metrics.errors.values()),
    ),
    ("nv_inference_count", "counter", "Samples inferred.", lambda model: model.metrics.samples),
    ("nv_inference_exec_count", "counter", "Runs of the engine.", lambda model: model.metrics.batches),
    ("nv_inference_pending_request_count", "gauge", "Requests that wait.", lambda model: model.queue),
    (
        "nv_inference_request_duration_us",
        "counter",
        "Request durations together.",
        lambda model: int(model.metrics.latency.total * 1e3),
    ),
    *(
        (
            f"nv_inference_{part}_duration_us",
            "counter",
            f"{text}, together.",
            # The name is bound now: each of these reads its own field.
            lambda model, field=field: int(getattr(model.metrics, field) * 1e6),
        )
        for part, text, field in (
            ("queue", "Waiting", "queue_s"),
            ("compute_input", "Taking requests apart", "input_s"),
            ("compute_infer", "In the engine", "infer_s"),
            ("compute_output", "Putting answers together", "output_s"),
        )
    ),
)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
