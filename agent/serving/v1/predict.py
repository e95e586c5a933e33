"""TensorFlow Serving's `:predict`, by rows and by columns. Imported with the first model: it needs numpy."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ModelUnavailable, RequestInvalid
from agent.contract.manifest import TensorSpec
from agent.serving.inference import check_batch
from agent.serving.messages import Request, Response, parse_json, tensor_json
from agent.serving.tensors import Array, check_finite, contiguous, nested

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served

SIGNATURE = "serving_default"


def predict(served: Served, request: Request) -> Response | Awaitable[Response]:
    """`POST /v1/models/M:predict`.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it.
        Overloaded, InferenceFailed: see `Served.run`.
    """
    document = parse_json(request.body)
    if not isinstance(document, dict):
        raise RequestInvalid(reason="JSON Value is not an object")
    if document.get("signature_name", SIGNATURE) not in (SIGNATURE, ""):
        raise RequestInvalid(
            reason=f'Serving signature name: "{document["signature_name"]}" not found in signature def'
        )
    rows = "instances" in document
    if rows == ("inputs" in document):
        raise RequestInvalid(reason="the request must hold either 'instances' or 'inputs', and not both")
    model = served.model
    if model is None:
        raise ModelUnavailable(model=served.name)
    names = [spec.name for spec in model.inputs]
    columns = _by_rows(document["instances"], names) if rows else _by_columns(document["inputs"], names)
    arrays = [
        _array(columns[spec.name], spec, dtype)
        for spec, dtype in zip(model.inputs, model.input_dtypes)  # noqa: B905 - one type per tensor
    ]
    check_batch(served, model, arrays)
    outcome = served.run(arrays)
    if isinstance(outcome, list):
        return _answer(model, outcome, rows)
    return _later(model, outcome, rows)


async def _later(model: Model, outcome: Awaitable[list[Array]], rows: bool) -> Response:
    return _answer(model, await outcome, rows)


def _answer(model: Model, outputs: Sequence[Array], rows: bool) -> Response:
    outputs = [contiguous(output) for output in outputs]
    if len(outputs) == 1:
        return Response(200, tensor_json({"predictions" if rows else "outputs": outputs[0]}))
    names = [spec.name for spec in model.outputs]
    if not rows:
        return Response(200, tensor_json({"outputs": dict(zip(names, outputs))}))  # noqa: B905 - one name each
    predictions = [dict(zip(names, row)) for row in zip(*outputs)]  # noqa: B905 - one batch
    return Response(200, tensor_json({"predictions": predictions}))


def _by_rows(instances: Any, names: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise RequestInvalid(reason="'instances' must be an array that is not empty")
    if len(names) == 1 and not isinstance(instances[0], dict):
        return {names[0]: instances}
    for place, row in enumerate(instances):
        if not isinstance(row, dict):
            raise RequestInvalid(reason=f"'instances' entry {place} must be an object of the inputs' values")
        _check_names(row, names)
    return {name: [row[name] for row in instances] for name in names}


def _by_columns(inputs: Any, names: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(inputs, dict):
        _check_names(inputs, names)
        return inputs
    if len(names) != 1:
        raise RequestInvalid(reason="'inputs' must be an object of the inputs' values")
    return {names[0]: inputs}


def _check_names(found: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in found:
        if name not in names:
            raise RequestInvalid(reason=f"'{name}' is no input of the model; it takes {', '.join(names)}")
    missing = [name for name in names if name not in found]
    if missing:
        raise RequestInvalid(reason=f"the input '{missing[0]}' is missing")


def _array(data: Any, spec: TensorSpec, dtype: str) -> Array:
    found = nested(data, dtype, spec.name)
    told = spec.shape[1:]
    fits = (
        found.ndim == len(spec.shape)
        and found.shape
        and all(
            want in (-1, length)
            for length, want in zip(found.shape[1:], told)  # noqa: B905 - of one length
        )
    )
    if not fits or not len(found):
        raise RequestInvalid(
            reason=f"input '{spec.name}' must have the shape {[-1, *told]}, found {list(found.shape)}"
        )
    if dtype != spec.dtype:
        check_finite(found, spec.name, spec.dtype)
    return found
