"""The paths of version 2. Nothing here needs numpy: what does is imported with the first request that wants it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache

from agent.contract.errors import EdgeError, ModelUnavailable
from agent.serving.apart import Apart
from agent.serving.catalog import Catalog
from agent.serving.inference import Operation, Wanted
from agent.serving.messages import (
    TEXT,
    Request,
    Response,
    error_response,
    json_response,
    refusal,
    wrong_method,
)
from agent.serving.served import READY, Served
from agent.serving.v2 import repository
from agent.serving.v2.statistics import statistics

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""What is there of Triton's. Not there: sequences, shared memory, traces, log settings."""
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]+))?(?:/(infer|ready|config|stats))?")
_CONTROL = re.compile(r"/v2/repository(?:/([^/]+))?/models/([^/]+)/(load|unload)")
_INDEX = re.compile(r"/v2/repository(?:/[^/]+)?/index")


class V2:
    """Answers what is asked below `/v2`.

    Args:
        catalog: what is served. version: of the agent.
    """

    def __init__(self, catalog: Catalog, version: str) -> None:
        self._catalog = catalog
        server = {"name": "edge", "version": version, "extensions": EXTENSIONS}
        self._plain: Mapping[str, Callable[[], Response]] = {
            "/v2": lambda: json_response(server),
            "/v2/health/live": lambda: json_response({"live": True}),
            "/v2/health/ready": self._health,
            "/v2/models": lambda: json_response({"models": list(catalog.models)}),
            "/v2/models/stats": lambda: statistics(catalog.index()),
        }

    def operation(self, request: Request, path: str) -> Wanted | None:
        """What to do with which model and version, where the request wants one to run."""
        found = _MODEL.fullmatch(path)
        if found is None or found[3] != "infer" or request.method != "POST":
            return None
        return _infer, found[1], found[2], None

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        reads = request.method in ("GET", "HEAD")
        plain = self._plain.get(path)
        if plain is not None:
            return plain() if reads else wrong_method("GET")
        found = _MODEL.fullmatch(path)
        if found is not None:
            name, version, verb = found.groups()
            if verb == "infer":
                return wrong_method("POST")
            return self._model(name, version, verb) if reads else wrong_method("GET")
        if not path.startswith("/v2/repository/"):
            return None
        return self._repository(request, path)

    def _model(self, name: str, version: str | None, verb: str | None) -> Response:
        served = self._catalog.find(name, version)
        if verb == "ready":
            return _ready(served)
        if verb == "stats":
            return statistics([served] if version else self._catalog.versions(name))
        if served.state != READY:
            raise ModelUnavailable(model=served.name)
        from agent.serving.v2.configuration import model_configuration, model_metadata

        if verb == "config":
            return model_configuration(served)
        return model_metadata(served, self._catalog.versions(name))

    def _repository(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        found = _CONTROL.fullmatch(path)
        if found is None and _INDEX.fullmatch(path) is None:
            return None
        if request.method != "POST":
            return wrong_method("POST")
        if found is None:
            return repository.index(self._catalog, request)
        source, name, verb = found.groups()
        if source is not None:
            return refusal(501, "'repository_name' specification is not supported")
        control = repository.load if verb == "load" else repository.unload
        return _answered(control(self._catalog, name, request))

    def _health(self) -> Response:
        ready = self._catalog.ready
        return json_response({"ready": ready}, 200 if ready else 503)


async def _answered(control: Awaitable[Response]) -> Response:
    try:
        return await control
    except EdgeError as error:
        return error_response(error)


def _ready(served: Served) -> Response:
    if served.state == READY:
        return json_response({"name": served.name, "ready": True})
    return Response(503, b'{"error":"Model version not ready"}', TEXT)


def _infer(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    return _imported_infer()(served, request, apart)


@cache
def _imported_infer() -> Operation:
    from agent.serving.v2.inference import infer

    return infer
