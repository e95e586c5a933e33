"""The statistics extension: what the models did since they were loaded, in Triton's form, from the same counters as
`/metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
        "last_inference": 0,
        "inference_count": metrics.samples,
        "execution_count": metrics.batches,
        "inference_stats": {
            "success": _duration(succeeded, metrics.latency.total / 1e3),
            "fail": _duration(failed, 0.0),
            "queue": _duration(succeeded, metrics.queue_s),
            "compute_input": _duration(0, 0.0),
            "compute_infer": _duration(succeeded, metrics.compute_s),
            "compute_output": _duration(0, 0.0),
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
