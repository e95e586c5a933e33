"""The counters' text for Prometheus.

The rule: beside our own names stand Triton's, so that dashboards made for it work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from agent.contract.sketch import Sketch
from agent.metrics.counters import ModelSample

if TYPE_CHECKING:
    from agent.contract.samples import BoardCounters

QUANTILES = (0.5, 0.95, 0.99)


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
    for name, kind, text, value in _COUNTED:
        to.family(name, kind, text, [(labels, value(model)) for labels, model in labelled])
    shadows = [each for each in labelled if each[1].metrics.compared or each[1].metrics.dropped]
    cached = [each for each in labelled if each[1].metrics.hits or each[1].metrics.misses]
    for those, rows in ((shadows, _OF_SHADOWS), (cached, _OF_THE_CACHE)):
        for name, text, field in rows:
            to.family(
                name, "counter", text, [(labels, getattr(model.metrics, field)) for labels, model in those]
            )
    for name, kind, text, values in _BY_LABEL:
        found = [({**labels, **more}, value) for labels, model in labelled for more, value in values(model)]
        to.family(name, kind, text, found)


_Labelled = Iterable[tuple[Mapping[str, str], float | None]]


def _errors(model: ModelSample) -> _Labelled:
    return [({"code": code}, count) for code, count in model.metrics.errors.copy().items()]


def _quantiles(sketch: Sketch) -> _Labelled:
    return [({"quantile": str(part)}, sketch.quantile(part)) for part in QUANTILES]


def _runs(model: ModelSample) -> _Labelled:
    return [({"samples": str(size)}, runs.count) for size, runs in sorted(model.metrics.sizes.copy().items())]


def _failures(model: ModelSample) -> _Labelled:
    return [({"reason": reason}, count) for reason, count in model.metrics.failures().items()]


_OF_SHADOWS = (
    (
        "edge_model_shadow_compared_total",
        "A shadow's answers that were compared with the primary's.",
        "compared",
    ),
    ("edge_model_shadow_agreement_total", "How far they agree, 0 to 1 each, together.", "agreed"),
    ("edge_model_shadow_dropped_total", "Requests that a busy shadow was not asked.", "dropped"),
)
_OF_THE_CACHE = (
    ("nv_cache_num_hits_per_model", "Requests that a kept answer answered.", "hits"),
    ("nv_cache_num_misses_per_model", "Requests that no kept answer was there for.", "misses"),
)
_BY_LABEL: tuple[tuple[str, str, str, Callable[[ModelSample], _Labelled]], ...] = (
    ("edge_model_errors_total", "counter", "Requests that failed, by error code.", _errors),
    (
        "edge_model_latency_ms",
        "gauge",
        "From the whole request to its answer.",
        lambda model: _quantiles(model.metrics.latency.sketch()),
    ),
    (
        "edge_model_compute_ms",
        "gauge",
        "CPU time of one run of the engine.",
        lambda model: _quantiles(model.metrics.compute.sketch()),
    ),
    ("edge_model_runs_total", "counter", "Runs of the engine, by their samples.", _runs),
    ("nv_inference_request_failure", "counter", "Requests that failed, by reason.", _failures),
)
_COUNTED: tuple[tuple[str, str, str, Callable[[ModelSample], float]], ...] = (
    (
        "edge_model_requests_total",
        "counter",
        "Requests answered or failed.",
        lambda model: model.metrics.requests,
    ),
    (
        "edge_model_batch_samples",
        "gauge",
        "Samples of requests that may run together now.",
        lambda model: model.batch,
    ),
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
