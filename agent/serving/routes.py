"""Paths to protocols. Whatever happens in a handler, a client gets an answer that says it."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any
from urllib.parse import unquote

from agent.contract.errors import EdgeError, InferenceFailed, ModelUnavailable
from agent.serving.catalog import LOADING, READY, Catalog, Served
from agent.serving.messages import (
    PROMETHEUS,
    TEXT,
    Request,
    Response,
    error_response,
    json_response,
    refusal,
)

LOG = logging.getLogger("agent")

_V2_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]+))?(?:/(infer|ready))?")
_V1_MODEL = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+))?(?::(predict))?")

Inference = Callable[[Served, bytes], "Response | Awaitable[Response]"]


class Routes:
    """The handler of all requests.

    Args:
        catalog: what is served.
        version: of the agent.
        exposition: the text of `/metrics`.
        status: the agent's own words of itself, for `/edge/v1/status`.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: str,
        exposition: Callable[[], bytes],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._catalog = catalog
        self._version = version
        self._plain: Mapping[str, Callable[[], Response]] = {
            "/": lambda: json_response({"status": "alive"}),
            "/v2": lambda: json_response({"name": "edge", "version": version, "extensions": []}),
            "/v2/health/live": lambda: json_response({"live": True}),
            "/v2/health/ready": self._health,
            "/v2/models": lambda: json_response({"models": list(catalog.models)}),
            "/v1/models": lambda: json_response({"models": list(catalog.models)}),
            "/metrics": lambda: Response(200, exposition(), PROMETHEUS),
            "/edge/v1/status": lambda: json_response(status()),
        }
        self._known: dict[str, tuple[str, str, str | None]] = {}
        self._inferences: dict[str, Inference] = {}

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, at once or later. Never raises."""
        try:
            known = self._known.get(request.path)
            if known is not None and request.method == "POST":
                return self._infer(request, *known)
            return self._route(request)
        except EdgeError as error:
            return error_response(error)
        except Exception:
            LOG.exception("a request to %s failed", request.path)
            return refusal(500, "the agent failed on this request")

    def _route(self, request: Request) -> Response | Awaitable[Response]:
        path = request.path if request.path == "/" else request.path.rstrip("/")
        reads = request.method in ("GET", "HEAD")
        if path in self._plain:
            return self._plain[path]() if reads else _wrong_method("GET")
        for pattern, answer in ((_V2_MODEL, self._v2), (_V1_MODEL, self._v1)):
            found = pattern.fullmatch(unquote(path))
            if found is not None:
                name, version, verb = found.groups()
                return answer(request, name, version, verb, reads)
        return refusal(404, "Not Found")

    def _v2(
        self, request: Request, name: str, version: str | None, verb: str | None, reads: bool
    ) -> Response | Awaitable[Response]:
        if verb == "infer":
            return (
                self._infer(request, "v2", name, version)
                if request.method == "POST"
                else _wrong_method("POST")
            )
        if not reads:
            return _wrong_method("GET")
        served = self._catalog.find(name, version)
        if verb == "ready":
            if served.state == READY:
                return json_response({"name": name, "ready": True})
            return Response(503, b'{"error":"Model version not ready"}', TEXT)
        if served.state != READY:
            raise ModelUnavailable(model=name)
        from agent.serving import v2

        return v2.model_metadata(served)

    def _v1(
        self, request: Request, name: str, version: str | None, verb: str | None, reads: bool
    ) -> Response | Awaitable[Response]:
        if verb == "predict":
            return (
                self._infer(request, "v1", name, version)
                if request.method == "POST"
                else _wrong_method("POST")
            )
        if not reads:
            return _wrong_method("GET")
        return _model_status(self._catalog.find(name, version))

    def _health(self) -> Response:
        ready = self._catalog.ready
        return json_response({"ready": ready}, 200 if ready else 503)

    # --- inference

    def _infer(
        self, request: Request, protocol: str, name: str, version: str | None
    ) -> Response | Awaitable[Response]:
        if self._catalog.loading:
            return self._when_loaded(request, protocol, name, version)
        served = self._catalog.find(name, version)
        if len(self._known) < 256:  # paths that lead to a model, as they were written
            self._known[request.path] = (protocol, name, version)
        try:
            inference = self._inferences.get(protocol) or self._inference(protocol)
            outcome = inference(served, request.body)
        except Exception as error:
            return self._failed(served, error)
        if isinstance(outcome, Response):
            served.metrics.answered(monotonic() - request.received)
            return outcome
        return self._finished(served, request, outcome)

    def _inference(self, protocol: str) -> Inference:
        """The protocol's inference. It is imported with the first model, since it needs numpy."""
        from agent.serving import v1, v2

        self._inferences.update(v1=v1.predict, v2=v2.infer)
        return self._inferences[protocol]

    async def _when_loaded(self, request: Request, protocol: str, name: str, version: str | None) -> Response:
        try:
            await self._catalog.wait()
            outcome = self._infer(request, protocol, name, version)
            return outcome if isinstance(outcome, Response) else await outcome
        except EdgeError as error:
            return error_response(error)

    async def _finished(self, served: Served, request: Request, outcome: Awaitable[Response]) -> Response:
        try:
            response = await outcome
        except Exception as error:
            return self._failed(served, error)
        served.metrics.answered(monotonic() - request.received)
        return response

    def _failed(self, served: Served, error: Exception) -> Response:
        if not isinstance(error, EdgeError):
            LOG.error("%s failed on a request", served.name, exc_info=error)
            error = InferenceFailed(model=served.name, reason="the agent failed on this request")
        served.metrics.failed(error.code)
        return error_response(error)


def _model_status(served: Served) -> Response:
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


def _wrong_method(allowed: str) -> Response:
    response = refusal(405, "Method Not Allowed")
    return Response(405, response.body, headers=((b"Allow", allowed.encode()),))
