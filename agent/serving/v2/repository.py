"""The model repository extension: which models there are, and to load and unload them.

The rule: what may be loaded is what the board's generation holds, verified; a client brings no model of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ModelNotServed, RequestInvalid
from agent.serving.messages import Request, Response, json_response, parse_json
from agent.serving.served import FAILED, LOADING, READY, UNLOADED, UNLOADING

if TYPE_CHECKING:
    from agent.serving.catalog import Catalog

STATES: Mapping[str, str] = {
    LOADING: "LOADING",
    READY: "READY",
    FAILED: "UNAVAILABLE",
    UNLOADING: "UNLOADING",
    UNLOADED: "UNAVAILABLE",
}


def index(catalog: Catalog, request: Request) -> Response:
    """All versions of all models, with their states.

    Raises:
        RequestInvalid: the body is not as the protocol wants it.
    """
    ready = _object(request).get("ready", False)
    if type(ready) is not bool:
        raise RequestInvalid(reason="Unable to parse 'ready': attempt to access JSON non-boolean as boolean")
    return json_response(
        [
            {
                "name": served.name,
                "version": str(served.version),
                "state": STATES[served.state],
                "reason": str(served.error)
                if served.error
                else "unloaded"
                if served.state == UNLOADED
                else "",
            }
            for served in catalog.index()
            if served.state == READY or not ready
        ]
    )


async def load(catalog: Catalog, name: str, request: Request) -> Response:
    """Load a model; answer when it is ready.

    Raises:
        RequestInvalid: the request brings a model or a configuration, or there is no model of this name.
        EdgeError: it can't be loaded.
    """
    parameters = _object(request).get("parameters")
    if parameters:
        raise RequestInvalid(
            reason=f"failed to load '{name}', a board serves what its generation holds: {_names(parameters)} can't "
            "be given with the request"
        )
    try:
        await catalog.load(name)
    except ModelNotServed as error:
        reason = f"failed to load '{name}', failed to poll from model repository"
        raise RequestInvalid(reason=reason, status=500) from error
    return json_response({"name": name, "load": True})


async def unload(catalog: Catalog, name: str, request: Request) -> Response:
    """Unload a model; answer when its memory is given back. No model depends on another.

    Raises:
        RequestInvalid: the body is not as the protocol wants it.
        ModelNotServed: there is no model of this name.
    """
    parameters = _object(request).get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestInvalid(reason="Unable to parse 'parameters': it must be an object")
    if type(parameters.get("unload_dependents", False)) is not bool:
        raise RequestInvalid(
            reason="Unable to parse 'unload_dependents': attempt to access JSON non-boolean as boolean"
        )
    await catalog.unload(name)
    return json_response({"name": name, "unload": True})


def _object(request: Request) -> Mapping[str, Any]:
    """The request's JSON; there need not be any."""
    if not request.body:
        return {}
    document = parse_json(request.body)
    if not isinstance(document, dict):
        raise RequestInvalid(reason="failed to parse the request JSON buffer: the request must be an object")
    return document


def _names(parameters: Any) -> str:
    return ", ".join(f"'{name}'" for name in parameters) if isinstance(parameters, dict) else "'parameters'"
