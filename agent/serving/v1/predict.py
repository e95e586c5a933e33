"""TensorFlow Serving's `:predict`, by rows and by columns. Imported with the first model: it needs numpy.

The rule: where a release says how a picture becomes its input, `{"b64": ...}` may hold one, a JPEG or PNG, as image
models with string inputs take it at TensorFlow Serving; all other bytes are a tensor's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.contract.errors import RequestInvalid
from agent.contract.manifest import TensorSpec
from agent.serving.apart import LONG_BYTES, Apart
from agent.serving.inference import check_batch
from agent.serving.messages import Request, Response, parse_json, tensor_json
from agent.serving.tensors import Array, contiguous
from agent.serving.v1.signatures import PREDICT, check_names, check_signature, ready_model
from agent.serving.v1.values import B64, Pictures, holds_booleans, tensor

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served


def predict(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    """`POST /v1/models/M:predict`; one that is long, or that holds pictures, is read in the thread `apart`.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it.
        EdgeError: see `Served.run`.
    """
    model, body = ready_model(served), request.body
    pictures = B64 in body and _takes_pictures(model)
    if pictures or len(body) > LONG_BYTES:
        return apart.read(
            served.name,
            lambda: _read(model, body, _pictures(served, model) if pictures else None),
            lambda read: _run(served, model, request, *read),
        )
    return _run(served, model, request, *_read(model, body, None))


def _takes_pictures(model: Model) -> bool:
    """Whether its release says how a picture becomes its only input."""
    manifest = model.bundle.manifest
    return bool(manifest.preprocessing) and len(manifest.inputs) == 1


def _pictures(served: Served, model: Model) -> Pictures:
    from agent.serving.images.pictures import picture_batch  # not before there is one

    return partial(picture_batch, served, model)


def _read(model: Model, body: bytes, pictures: Pictures | None) -> tuple[list[Array], bool]:
    """What a request asks for: its tensors, and whether by rows."""
    document = parse_object(body)
    if "signature_name" in document:
        check_signature(model, document, PREDICT)
    rows = "instances" in document
    if rows == ("inputs" in document):
        raise RequestInvalid(reason="the request must hold either 'instances' or 'inputs', and not both")
    columns = (
        _by_rows(document["instances"], model.inputs)
        if rows
        else _by_columns(document["inputs"], model.inputs)
    )
    booleans = holds_booleans(body)
    arrays = [
        tensor(columns[spec.name], spec, dtype, booleans=booleans, pictures=pictures)
        for spec, dtype in zip(model.inputs, model.input_dtypes)  # noqa: B905 - one type per tensor
    ]
    return arrays, rows


def _run(
    served: Served, model: Model, request: Request, arrays: Sequence[Array], rows: bool
) -> Response | Awaitable[Response]:
    if len(arrays) > 1 or model.fixed_batch not in (None, 1):
        check_batch(served, model, arrays)
    outcome = served.run(arrays, deadline=request.deadline, priority=request.priority)
    if isinstance(outcome, list):
        return _answer(model, outcome, rows)
    return _later(model, outcome, rows)


def parse_object(body: bytes) -> Mapping[str, Any]:
    """A request's JSON object.

    Raises:
        RequestInvalid: it is none.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise RequestInvalid(reason="JSON Value is not an object")
    return document


async def _later(model: Model, outcome: Awaitable[list[Array]], rows: bool) -> Response:
    return _answer(model, await outcome, rows)


def _answer(model: Model, outputs: Sequence[Array], rows: bool) -> Response:
    outputs = [contiguous(output) for output in outputs]
    if len(outputs) == 1:
        return Response(200, tensor_json({"predictions" if rows else "outputs": outputs[0]}))
    names = model.output_names
    if not rows:
        return Response(200, tensor_json({"outputs": dict(zip(names, outputs))}))  # noqa: B905 - one name each
    for name, output in zip(names, outputs):  # noqa: B905 - one name each
        if len(output) != len(outputs[0]):
            raise RequestInvalid(
                reason=f"Tensor name: {name} has inconsistent batch size: {len(output)} "
                f"expecting: {len(outputs[0])}; ask by 'inputs'"
            )
    predictions = [dict(zip(names, row)) for row in zip(*outputs)]  # noqa: B905 - one batch
    return Response(200, tensor_json({"predictions": predictions}))


def _by_rows(instances: Any, specs: tuple[TensorSpec, ...]) -> Mapping[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise RequestInvalid(reason="'instances' must be an array that is not empty")
    if len(specs) == 1 and not _is_named(instances[0]):
        return {specs[0].name: instances}
    for place, row in enumerate(instances):
        if not _is_named(row):
            raise RequestInvalid(reason=f"'instances' entry {place} must be an object of the inputs' values")
        check_names(row, specs)
    return {spec.name: [row[spec.name] for row in instances] for spec in specs}


def _by_columns(inputs: Any, specs: tuple[TensorSpec, ...]) -> Mapping[str, Any]:
    if _is_named(inputs):
        check_names(inputs, specs)
        return inputs  # type: ignore[no-any-return] # an object, as was just seen
    if len(specs) != 1:
        raise RequestInvalid(reason="'inputs' must be an object of the inputs' values")
    return {specs[0].name: inputs}


def _is_named(value: Any) -> bool:
    """Whether it is an object of the inputs' values, and not bytes, `{"b64": ...}`."""
    return isinstance(value, dict) and value.keys() != {"b64"}
