"""The paths of version 1. Nothing here needs numpy: what does is imported with the first request that wants it."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from agent.serving.catalog import Catalog
from agent.serving.inference import Operation
from agent.serving.messages import Request, Response, json_response, wrong_method
from agent.serving.served import LOADING, READY, Served

_MODEL = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+))?(?::(predict))?")


class V1:
    """Answers what is asked below `/v1`.

    Args:
        catalog: what is served.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def operation(self, request: Request, path: str) -> tuple[Operation, str, str | None] | None:
        """What to do with which model and version, where the request wants one to run."""
        found = _MODEL.fullmatch(path)
        if found is None or found[3] is None or request.method != "POST":
            return None
        return _predict, found[1], found[2]

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        reads = request.method in ("GET", "HEAD")
        if path == "/v1/models":
            return json_response({"models": list(self._catalog.models)}) if reads else wrong_method("GET")
        found = _MODEL.fullmatch(path)
        if found is None:
            return None
        name, version, verb = found.groups()
        if verb is not None:
            return wrong_method("POST")
        if not reads:
            return wrong_method("GET")
        return _status(self._catalog.find(name, version))


def _predict(served: Served, request: Request) -> Response | Awaitable[Response]:
    from agent.serving.v1.predict import predict

    return predict(served, request)


def _status(served: Served) -> Response:
    """What TensorFlow Serving and KServe's own version 1 say at one path, in one answer."""
    state = {READY: "AVAILABLE", LOADING: "LOADING"}.get(served.state, "END")
    error = served.error
    status = {"error_code": "OK", "error_message": ""}
    if error is not None:
        status = {"error_code": "INTERNAL", "error_message": str(error)}
    return json_response(
        {
            "model_version_status": [{"version": str(served.version), "state": state, "status": status}],
            "name": served.name,
            "ready": served.state == READY,
        }
    )
