"""One request for a model's answer, whatever its protocol: the model is found, run and counted.

The rule: each request that found its model is counted once, answered or failed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from agent.contract.errors import EdgeError, InferenceFailed, RequestInvalid
from agent.metrics import ABANDONED
from agent.serving.apart import Apart
from agent.serving.catalog import Catalog
from agent.serving.messages import Request, Response, error_response
from agent.serving.served import Served

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.tensors import Array

LOG = logging.getLogger("agent")
REQUEST_ID = b"x-request-id"
LONGEST_ID = 128
"""Of a request's id in the log."""

Operation = Callable[[Served, Request, Apart], "Response | Awaitable[Response]"]
"""What a protocol does with a request to one model: take it apart (what takes long, in that thread), have it run, and
put the answer together."""
Wanted = tuple[Operation, str, str | None, str | None]
"""What to do with which model, and its version or label where the path names one."""


class Inferences:
    """All requests for answers.

    Args:
        catalog: what is served.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._apart = Apart()

    def __call__(
        self,
        request: Request,
        operation: Operation,
        name: str,
        version: str | None = None,
        label: str | None = None,
    ) -> Response | Awaitable[Response]:
        """Answer a request to a model, at once or later.

        Raises:
            ModelNotServed, ModelVersionNotServed, ModelLabelNotServed: there is none.
        """
        served = self._catalog.find(name, version, label)
        if self._catalog.shared and version is None and label is None and name in self._catalog.shared:
            served = self._catalog.shared[name].choose(request)
        try:
            outcome = operation(served, request, self._apart)
        except Exception as error:
            return _failed(served, request, error)
        if isinstance(outcome, Response):
            metrics = served.metrics
            if metrics.began > request.received:
                metrics.input_s += metrics.began - request.received
            metrics.answered(monotonic() - request.received)
            return outcome
        served.under_way += 1
        return _finished(served, request, outcome)


async def _finished(served: Served, request: Request, outcome: Awaitable[Response]) -> Response:
    input_s = monotonic() - request.received
    try:
        response = await outcome
    except asyncio.CancelledError:
        served.metrics.failed(ABANDONED)
        raise
    except Exception as error:
        return _failed(served, request, error)
    finally:
        served.under_way -= 1
    served.metrics.input_s += input_s
    served.metrics.answered(monotonic() - request.received)
    return response


def _failed(served: Served, request: Request, error: Exception) -> Response:
    if not isinstance(error, EdgeError):
        LOG.error("%s failed on a request", served.name, exc_info=error)
        error = InferenceFailed(model=served.name, reason="the agent failed on this request")
    served.metrics.failed(error.code)
    if LOG.isEnabledFor(logging.DEBUG):
        identity = request.headers.get(REQUEST_ID, b"").decode("latin-1")[:LONGEST_ID]
        facts = {
            "code": error.code,
            "model": served.name,
            "version": str(served.version),
            "request": identity,
            "ms": round((monotonic() - request.received) * 1000, 3),
        }
        words = " ".join(f"{name}={json.dumps(value)}" for name, value in facts.items())
        LOG.debug("a request failed: %s", words, extra={"facts": facts})
    return error_response(error)


def check_batch(served: Served, model: Model, arrays: Sequence[Array]) -> None:
    """Refuse batches that differ between inputs, or that the artifact's own batch does not divide.

    Raises:
        RequestInvalid: so.
    """
    counts = {len(array) for array in arrays}
    count = counts.pop()
    if counts:
        raise RequestInvalid(reason=f"the inputs for model '{served.name}' have different batch sizes")
    if model.fixed_batch is not None and count % model.fixed_batch:
        raise RequestInvalid(
            reason=f"batch size {count} for model '{served.name}' is no multiple of its own, {model.fixed_batch}"
        )
