"""The paths of version 2. Nothing here needs numpy: what does is imported with the first request that wants it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from agent.contract.errors import ModelUnavailable
from agent.serving.catalog import Catalog
from agent.serving.inference import Operation
from agent.serving.messages import TEXT, Request, Response, json_response, wrong_method
from agent.serving.served import READY, Served

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]+))?(?:/(infer|ready))?")


class V2:
    """Answers what is asked below `/v2`.

    Args:
        catalog: what is served. version: of the agent.
    """

    def __init__(self, catalog: Catalog, version: str) -> None:
        self._catalog = catalog
        self._plain: Mapping[str, Callable[[], Response]] = {
            "/v2": lambda: json_response({"name": "edge", "version": version, "extensions": []}),
            "/v2/health/live": lambda: json_response({"live": True}),
            "/v2/health/ready": self._health,
            "/v2/models": lambda: json_response({"models": list(catalog.models)}),
        }

    def operation(self, request: Request, path: str) -> tuple[Operation, str, str | None] | None:
        """What to do with which model and version, where the request wants one to run."""
        found = _MODEL.fullmatch(path)
        if found is None or found[3] != "infer" or request.method != "POST":
            return None
        return _infer, found[1], found[2]

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        reads = request.method in ("GET", "HEAD")
        plain = self._plain.get(path)
        if plain is not None:
            return plain() if reads else wrong_method("GET")
        found = _MODEL.fullmatch(path)
        if found is None:
            return None
        name, version, verb = found.groups()
        if verb == "infer":
            return wrong_method("POST")
        if not reads:
            return wrong_method("GET")
        return self._model(self._catalog.find(name, version), verb)

    def _model(self, served: Served, verb: str | None) -> Response:
        if verb == "ready":
            if served.state == READY:
                return json_response({"name": served.name, "ready": True})
            return Response(503, b'{"error":"Model version not ready"}', TEXT)
        if served.state != READY:
            raise ModelUnavailable(model=served.name)
        from agent.serving.v2.inference import model_metadata

        return model_metadata(served)

    def _health(self) -> Response:
        ready = self._catalog.ready
        return json_response({"ready": ready}, 200 if ready else 503)


def _infer(served: Served, request: Request) -> Response | Awaitable[Response]:
    from agent.serving.v2.inference import infer

    return infer(served, request)
