"""The statistics extension: what the models did since they were first served, in Triton's form and from the counters
of `/metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from agent.metrics import ModelMetrics
from agent.serving.messages import Response, json_response
from agent.serving.served import Served


def statistics(models: Iterable[Served]) -> Response:
    """The numbers of these models."""
    return json_response({"model_stats": [_model(served) for served in models]})


def _model(served: Served) -> dict[str, Any]:
    metrics = served.metrics
    failed = sum(metrics.errors.values())
    succeeded = metrics.requests - failed
    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": _last_ms(metrics),
        "inference_count": metrics.samples,
        "execution_count": metrics.batches,
        "inference_stats": {
            "success": _duration(succeeded, metrics.latency.total / 1000),
            "fail": _duration(failed, 0.0),  # how long it took is not counted
            "queue": _duration(succeeded, metrics.queue_s),
            "compute_input": _duration(succeeded, metrics.input_s),
            "compute_infer": _duration(succeeded, metrics.infer_s),
            "compute_output": _duration(succeeded, metrics.output_s),
            "cache_hit": _duration(metrics.hits, 0.0),  # how long it takes to look is not counted
            "cache_miss": _duration(metrics.misses, 0.0),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(runs.count, 0.0),
                "compute_infer": _duration(runs.count, runs.run_s),
                "compute_output": _duration(runs.count, 0.0),
            }
            for size, runs in sorted(metrics.sizes.items())
            if size  # under 0 the metrics keep the runs of sizes that are too many to tell apart
        ],
        "memory_usage": [],
    }


def _last_ms(metrics: ModelMetrics) -> int:
    """When the newest run began, milliseconds since 1970; 0 where there was none."""
    return int((time.time() - time.monotonic() + metrics.began) * 1000) if metrics.began else 0


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
