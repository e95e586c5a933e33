"""The paths of version 1. Nothing here needs numpy: what does is imported with the first request that wants it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from functools import cache

from agent.serving.apart import Apart
from agent.serving.catalog import Catalog
from agent.serving.inference import Operation, Wanted
from agent.serving.messages import Request, Response, json_response, refusal, wrong_method
from agent.serving.served import Served
from agent.serving.v1.status import status

_MODEL = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?(?::(predict|classify|regress|explain)|/(metadata))?",
    re.IGNORECASE | re.ASCII,
)


class V1:
    """Answers what is asked below `/v1`.

    Args:
        catalog: what is served.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def operation(self, request: Request, path: str) -> Wanted | None:
        """What to do with which model, where the request wants one to run."""
        found = _MODEL.fullmatch(path)
        if found is None or found[4] is None or request.method != "POST":
            return None
        operation = _OPERATIONS.get(found[4].lower())
        return None if operation is None else (operation, found[1], found[2], found[3])

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        reads = request.method in ("GET", "HEAD")
        if path.lower() == "/v1/models":
            return json_response({"models": list(self._catalog.models)}) if reads else wrong_method("GET")
        found = _MODEL.fullmatch(path)
        if found is None:
            return None
        name, version, label, verb, of_metadata = found.groups()
        if verb is not None:
            if verb.lower() == "explain" and request.method == "POST":
                return refusal(501, f"no explainer is served for '{name}'")
            return wrong_method("POST")
        if not reads:
            return wrong_method("GET")
        asked = self._catalog.find(name, version, label)
        if of_metadata:
            from agent.serving.v1.metadata import metadata

            return metadata(asked)
        alone = version is not None or label is not None
        return status(asked, (asked,) if alone else self._catalog.versions(name))


def _predict(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    return _imported_predict()(served, request, apart)


@cache
def _imported_predict() -> Operation:
    from agent.serving.v1.predict import predict

    return predict


def _classify(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    return _imported_classify()(served, request, apart)


@cache
def _imported_classify() -> Operation:
    from agent.serving.v1.examples import classify

    return classify


def _regress(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    return _imported_regress()(served, request, apart)


@cache
def _imported_regress() -> Operation:
    from agent.serving.v1.examples import regress

    return regress


_OPERATIONS: Mapping[str, Operation] = {"predict": _predict, "classify": _classify, "regress": _regress}
