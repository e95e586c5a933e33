"""`POST /v2/models/M/infer`: JSON, the binary tensor extension, and bytes that are one tensor and nothing else.

Imported with the first model: it needs numpy. Error texts and status codes are Triton's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from agent.contract.errors import ModelUnavailable, RequestExpired, RequestInvalid
from agent.serving.apart import LONG_BYTES, Apart
from agent.serving.inference import check_batch
from agent.serving.messages import Request, Response, parse_json
from agent.serving.tensors import Array
from agent.serving.v2.announced import Asked
from agent.serving.v2.binary import json_length
from agent.serving.v2.form import Form, form_of
from agent.serving.v2.inputs import read_inputs, read_raw
from agent.serving.v2.outputs import answer, wanted_outputs
from agent.serving.v2.parameters import BINARY, DEFAULT, Parameters, read_parameters
from agent.serving.v2.plans import by_list_plan, keep_list_plan, keep_plan

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served

_HEADER = b"inference-header-content-length"
EXPIRED_STATUS = 503
"""Triton's; version 1 of the protocol has another."""


def infer(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    """Answer one request; one whose JSON is long is read in the thread `apart`.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it.
        Overloaded, RequestExpired, InferenceFailed: see `Served.run`.
    """
    model = served.model
    if model is None:
        raise ModelUnavailable(model=served.name)
    form = form_of(served, model)
    body = request.body
    start = len(body)
    header = request.headers.get(_HEADER)
    if header is not None:
        start = json_length(header, body)
        if start == 0:
            arrays = read_raw(form, body)
            return _run(served, model, form, request, arrays, None, BINARY, form.as_binary)
        plan = form.plans.get(body[:start])
        if plan is not None and plan.size_bytes == len(body):
            return _run(served, model, form, request, plan.arrays(body), None, plan.parameters, plan.wanted)
    elif start <= LONG_BYTES:
        planned = by_list_plan(form.list_plans, body)
        if planned is not None:
            return _run(served, model, form, request, *planned)
    if start > LONG_BYTES:
        return apart.read(
            form.name,
            lambda: _read(form, body, start, header is not None),
            lambda read: _run(served, model, form, request, *read),
        )
    return _run(served, model, form, request, *_read(form, body, start, header is not None))


def _read(
    form: Form, body: bytes, start: int, binary: bool
) -> tuple[list[Array], str | None, Parameters, Sequence[Asked]]:
    """What a request asks for: its tensors, its id, how it is to be served, and which outputs.

    Args:
        form: of the model.
        body: all of the request.
        start: where its JSON ends.
        binary: bytes may stand behind that.
    """
    head = body[:start]
    document = parse_json(head)
    if type(document) is not dict:
        raise RequestInvalid(reason="failed to parse the request JSON buffer: the request must be an object")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise RequestInvalid(reason="Unable to parse 'id': attempt to access JSON non-string as string")
    parameters = DEFAULT
    if "parameters" in document:
        parameters = read_parameters(document["parameters"], form.name)
    arrays = read_inputs(form, document, body, start)
    wanted = wanted_outputs(form, document.get("outputs"), parameters.binary)
    if binary:
        keep_plan(form.plans, form.inputs, head, document, len(body), parameters, wanted)
    else:
        keep_list_plan(form.list_plans, form.inputs, body, document, parameters, wanted)
    return arrays, identity, parameters, wanted


def _run(
    served: Served,
    model: Model,
    form: Form,
    request: Request,
    arrays: list[Array],
    identity: str | None,
    parameters: Parameters,
    wanted: Sequence[Asked],
) -> Response | Awaitable[Response]:
    if len(arrays) > 1 or form.batch:
        check_batch(served, model, arrays)
    _, timeout_us, priority = parameters
    deadline = request.received + timeout_us / 1e6 if timeout_us else request.deadline
    try:
        outcome = served.run(arrays, deadline=deadline, priority=priority or request.priority)
    except RequestExpired as error:
        raise _expired(error) from error
    if isinstance(outcome, list):
        return answer(form, identity, wanted, outcome)
    return _later(form, identity, wanted, outcome)


async def _later(
    form: Form, identity: str | None, wanted: Sequence[Asked], outcome: Awaitable[list[Array]]
) -> Response:
    try:
        arrays = await outcome
    except RequestExpired as error:
        raise _expired(error) from error
    return answer(form, identity, wanted, arrays)


def _expired(error: RequestExpired) -> RequestExpired:
    return RequestExpired(**{**error.facts, "status": EXPIRED_STATUS})
