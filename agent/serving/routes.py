"""Paths to protocols.

The rule: whatever happens in a handler, a client gets an answer that says it. A request that comes while the models are
loaded waits for them as it came: nothing of it is taken apart before.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from agent.contract.errors import EdgeError
from agent.serving.catalog import Catalog
from agent.serving.encodings import Encodings
from agent.serving.images.paths import Images
from agent.serving.inference import Inferences, Wanted
from agent.serving.messages import (
    PROMETHEUS,
    Request,
    Response,
    error_response,
    json_response,
    refusal,
    wrong_method,
)
from agent.serving.v1.paths import V1
from agent.serving.v2.paths import V2

LOG = logging.getLogger("agent")
PATHS_KEPT = 256
"""Paths that lead to a model, as clients wrote them."""


class Paths(Protocol):
    """One protocol's paths."""

    def operation(self, request: Request, path: str) -> Wanted | None:
        """What to do with which model, where the request wants one to run."""
        ...

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        ...


class Routes:
    """The handler of all requests.

    Args:
        catalog: what is served.
        version: of the agent.
        body_bytes: the longest body, when it is decompressed.
        exposition: the text of `/metrics`.
        status: the agent's own words of itself, for `/edge/v1/status`.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: str,
        body_bytes: int,
        exposition: Callable[[], bytes],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._catalog = catalog
        self._inferences = Inferences(catalog)
        self._encodings = Encodings(body_bytes)
        self._protocols: tuple[Paths, ...] = (V2(catalog, version), V1(catalog), Images())

        def metrics() -> Response:
            return Response(200, exposition(), PROMETHEUS)

        self._plain: Mapping[str, Callable[[], Response]] = {
            "/": lambda: json_response({"status": "alive"}),
            "/metrics": metrics,
            "/monitoring/prometheus/metrics": metrics,
            "/edge/v1/status": lambda: json_response(status()),
        }
        self._known: dict[str, Wanted] = {}

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, at once or later. Never raises."""
        try:
            known = self._known.get(request.path)
            if known is not None and request.method == "POST":
                return self._answer(request, known)
            return self._route(request)
        except EdgeError as error:
            return error_response(error)
        except Exception:
            LOG.exception("a request to %s failed", request.path)
            return refusal(500, "the agent failed on this request")

    def _route(self, request: Request) -> Response | Awaitable[Response]:
        path = request.path if request.path == "/" else unquote(request.path.rstrip("/"))
        if path in self._plain:
            return self._plain[path]() if request.method in ("GET", "HEAD") else wrong_method("GET")
        for protocol in self._protocols:
            wanted = protocol.operation(request, path)
            if wanted is not None:
                outcome = self._answer(request, wanted)
                if len(self._known) < PATHS_KEPT:
                    self._known[request.path] = wanted
                return outcome
            answer = protocol(request, path)
            if answer is not None:
                return answer
        return refusal(404, "Not Found")

    def _answer(self, request: Request, wanted: Wanted) -> Response | Awaitable[Response]:
        if self._catalog.loading:
            return self._when_loaded(request, wanted)
        headers = request.headers
        if b"accept-encoding" in headers or b"content-encoding" in headers:
            return self._encodings(request, lambda plain: self._inferences(plain, *wanted))
        return self._inferences(request, *wanted)

    async def _when_loaded(self, request: Request, wanted: Wanted) -> Response:
        try:
            await self._catalog.wait()
            outcome = self._answer(request, wanted)
            return outcome if isinstance(outcome, Response) else await outcome
        except EdgeError as error:
            return error_response(error)
