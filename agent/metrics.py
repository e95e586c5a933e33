"""Counters of the serving agent, and their text for Prometheus.

The rule: counters only grow, from the start of the process; they are changed by the event loop's thread alone.
Beside our own names stand Triton's, so that dashboards made for it work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.contract.sketch import Sketch, bucket

if TYPE_CHECKING:
    from agent.contract.samples import BoardCounters

QUANTILES = (0.5, 0.95, 0.99)


class Distribution:
    """A sketch that is added to."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0.0

    def add(self, value: float) -> None:
        number = str(bucket(value))
        counts = self._counts
        counts[number] = counts.get(number, 0) + 1
        self.total += value

    def sketch(self) -> Sketch:
        """What was added so far."""
        return Sketch(self._counts.copy(), self.total)

    def plain(self) -> dict[str, Any]:
        """The sketch as telemetry has it, without being checked again."""
        return {"counts": self._counts.copy(), "total": self.total}


class ModelMetrics:
    """One model's counters.

    Attributes:
        requests: answered or failed. errors: by error code. samples: inferred. batches: runs of the engine.
        compute_s, queue_s: seconds in all, of CPU in the engine and of waiting for it.
    """

    __slots__ = ("batches", "compute", "compute_s", "errors", "latency", "queue_s", "requests", "samples")

    def __init__(self) -> None:
        self.requests = self.samples = self.batches = 0
        self.errors: dict[str, int] = {}
        self.compute_s = self.queue_s = 0.0
        self.latency = Distribution()
        self.compute = Distribution()

    def ran(self, samples: int, compute_s: float) -> None:
        """The engine ran once."""
        self.batches += 1
        self.samples += samples
        self.compute_s += compute_s
        self.compute.add(compute_s * 1000)

    def answered(self, latency_s: float) -> None:
        """A request got its answer."""
        self.requests += 1
        self.latency.add(latency_s * 1000)

    def failed(self, code: str) -> None:
        """A request got an error."""
        self.requests += 1
        self.errors[code] = self.errors.get(code, 0) + 1

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
        }


class ModelSample(NamedTuple):
    """A model in the text for Prometheus."""

    name: str
    version: int
    metrics: ModelMetrics
    queue: int


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
    for name, kind, text, value in _TRITON:
        to.family(name, kind, text, [(labels, value(model)) for labels, model in labelled])


def _errors(model: ModelSample) -> int:
    return sum(model.metrics.errors.values())


_TRITON = (
    (
        "nv_inference_request_success",
        "counter",
        "Requests answered.",
        lambda model: model.metrics.requests - _errors(model),
    ),
    ("nv_inference_request_failure", "counter", "Requests that failed.", _errors),
    ("nv_inference_count", "counter", "Samples inferred.", lambda model: model.metrics.samples),
    ("nv_inference_exec_count", "counter", "Runs of the engine.", lambda model: model.metrics.batches),
    ("nv_inference_pending_request_count", "gauge", "Requests that wait.", lambda model: model.queue),
    (
        "nv_inference_request_duration_us",
        "counter",
        "Request durations together.",
        lambda model: int(model.metrics.latency.total * 1e3),
    ),
    (
        "nv_inference_queue_duration_us",
        "counter",
        "Waiting together.",
        lambda model: int(model.metrics.queue_s * 1e6),
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "counter",
        "CPU time of the engine together.",
        lambda model: int(model.metrics.compute_s * 1e6),
    ),
)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
