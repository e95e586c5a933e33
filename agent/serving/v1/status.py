"""What TensorFlow Serving and KServe's own version 1 say at one path, `GET /v1/models/M`, in one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.serving.messages import Response, json_response
from agent.serving.served import FAILED, LOADING, READY, UNLOADED, UNLOADING, Served

STATES: Mapping[str, str] = {
    LOADING: "LOADING",
    READY: "AVAILABLE",
    UNLOADING: "UNLOADING",
    UNLOADED: "END",
    FAILED: "END",
}


def status(asked: Served, versions: Sequence[Served]) -> Response:
    """The states of the versions that a path means; `ready` is of the one that would answer at it."""
    newest_first = sorted(versions, key=lambda served: served.version, reverse=True)
    return json_response(
        {
            "model_version_status": [_version(served) for served in newest_first],
            "name": asked.name,
            "ready": asked.state == READY,
        }
    )


def _version(served: Served) -> Mapping[str, Any]:
    error = served.error
    return {
        "version": str(served.version),
        "state": STATES[served.state],
        "status": {
            "error_code": "OK" if error is None else "INTERNAL",
            "error_message": "" if error is None else str(error),
        },
    }
