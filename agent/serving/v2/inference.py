"""The Open Inference Protocol, version 2, in JSON, as Triton speaks it: its paths, error texts and status codes.

Imported with the first model: it needs numpy. `BYTES` tensors are not served; the binary tensor extension is not
announced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ModelUnavailable, RequestInvalid
from agent.contract.manifest import EngineName, TensorSpec
from agent.serving.inference import check_batch
from agent.serving.messages import Request, Response, json_response, parse_json, tensor_json
from agent.serving.tensors import DATATYPES, DTYPES, Array, check_finite, from_data

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served
_INTEGER = frozenset({int})
PLATFORMS: Mapping[str, str] = {EngineName.ONNXRUNTIME.value: "onnxruntime_onnx"}


def model_metadata(served: Served) -> Response:
    """`GET /v2/models/M`."""
    model = _model(served)
    return json_response(
        {
            "name": served.name,
            "versions": [str(served.version)],
            "platform": PLATFORMS.get(model.engine_name, "tflite"),
            "inputs": _tensors(model, model.inputs, model.input_dtypes),
            "outputs": _tensors(model, model.outputs, model.output_dtypes),
        }
    )


def infer(served: Served, request: Request) -> Response | Awaitable[Response]:
    """`POST /v2/models/M/infer`.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it.
        Overloaded, InferenceFailed: see `Served.run`.
    """
    document = parse_json(request.body)
    if not isinstance(document, dict):
        raise RequestInvalid(reason="failed to parse the request JSON buffer: the request must be an object")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RequestInvalid(reason="Unable to parse 'id': attempt to access JSON non-string as string")
    model = _model(served)
    arrays = _arrays(served, model, document, identity)
    wanted = _wanted(served, model, document.get("outputs"))
    outcome = served.run(arrays)
    if isinstance(outcome, list):
        return _answer(served, model, identity, wanted, outcome)
    return _later(served, model, identity, wanted, outcome)


async def _later(
    served: Served,
    model: Model,
    identity: str | None,
    wanted: Sequence[int],
    outcome: Awaitable[list[Array]],
) -> Response:
    return _answer(served, model, identity, wanted, await outcome)


def _answer(
    served: Served, model: Model, identity: str | None, wanted: Sequence[int], outputs: Sequence[Array]
) -> Response:
    answer: dict[str, Any] = {"id": identity} if identity else {}
    answer["model_name"] = served.name
    answer["model_version"] = str(served.version)
    answer["outputs"] = [
        {
            "name": model.outputs[place].name,
            "datatype": DATATYPES[model.output_dtypes[place]],
            "shape": outputs[place].shape,
            "data": outputs[place].ravel(),
        }
        for place in wanted
    ]
    return Response(200, tensor_json(answer))


def _arrays(served: Served, model: Model, request: Mapping[str, Any], identity: str | None) -> list[Array]:
    """The request's tensors in the order of the model's inputs."""
    inputs = request.get("inputs")
    if not isinstance(inputs, list):
        raise RequestInvalid(reason="Unable to parse 'inputs': it must be an array of objects")
    names = model.input_names
    found: dict[Any, Mapping[str, Any]] = {}
    for item in inputs:
        if not isinstance(item, dict):
            raise RequestInvalid(reason="Unable to parse 'inputs': it must be an array of objects")
        name = item.get("name")
        if name not in names:
            raise RequestInvalid(reason=f"unexpected inference input '{name}' for model '{served.name}'")
        if name in found:
            raise RequestInvalid(
                reason=f"input '{name}' stands twice in the request for model '{served.name}'"
            )
        found[name] = item
    if len(found) != len(names):
        raise RequestInvalid(reason=_missing(served.name, list(found), names))
    arrays = [
        _array(served, spec, dtype, found[spec.name], identity)
        for spec, dtype in zip(model.inputs, model.input_dtypes)  # noqa: B905 - hot
    ]
    if len(arrays) > 1 or model.fixed_batch not in (None, 1):
        check_batch(served, model, arrays)
    return arrays


def _array(
    served: Served, spec: TensorSpec, expected: str, item: Mapping[str, Any], identity: str | None
) -> Array:
    datatype = item.get("datatype")
    dtype = DTYPES.get(datatype, "") if isinstance(datatype, str) else ""
    if dtype not in (expected, spec.dtype):
        raise RequestInvalid(
            reason=f"inference input data-type is '{datatype}', model expects "
            f"'{DATATYPES[expected]}' for '{served.name}'"
        )
    shape = item.get("shape")
    if not isinstance(shape, list) or not _INTEGER.issuperset(map(type, shape)):
        raise RequestInvalid(reason="Unable to parse 'shape': it must be an array of integers")
    if not _fits(shape, spec.shape):
        told, got = ([-1, *spec.shape[1:]] if spec.shape else []), shape
        raise RequestInvalid(
            reason=f"[request id: {identity or '<id_unknown>'}] unexpected shape for input '{spec.name}' for "
            f"model '{served.name}'. Expected {_shown(told)}, got {_shown(got)}"
        )
    if "data" not in item:
        raise RequestInvalid(reason=f"input '{spec.name}' holds no 'data'; binary tensors are not served")
    array = from_data(item["data"], dtype, shape)
    if dtype != spec.dtype:
        check_finite(array, spec.name, spec.dtype)
    return array


def _wanted(served: Served, model: Model, outputs: Any) -> Sequence[int]:
    """Places of the outputs that the request names; all of them when it names none."""
    if outputs is None:
        return range(len(model.outputs))
    if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
        raise RequestInvalid(reason="Unable to parse 'outputs': it must be an array of objects")
    names = model.output_names
    for item in outputs:
        if item.get("name") not in names:
            raise RequestInvalid(
                reason=f"unexpected inference output '{item.get('name')}' for model '{served.name}'"
            )
    return [names.index(item["name"]) for item in outputs] or range(len(names))


def _missing(model: str, found: Sequence[Any], names: Sequence[str]) -> str:
    got = ",".join(f"'{name}'" for name in found)
    missing = ",".join(f"'{name}'" for name in names if name not in found)
    return (
        f"expected {len(names)} inputs but got {len(found)} inputs for model '{model}'. Got input(s) [{got}], "
        f"but missing required input(s) [{missing}]. Please provide all required input(s)."
    )


def _fits(shape: Sequence[int], told: Sequence[int]) -> bool:
    if len(shape) != len(told) or not shape or shape[0] < 1:
        return False
    # A list: a generator would cost half as much again.
    return False not in [
        want == length or (want == -1 and length >= 0)
        for length, want in zip(shape[1:], told[1:])  # noqa: B905 - of one length
    ]


def _shown(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _tensors(model: Model, specs: Sequence[TensorSpec], dtypes: Sequence[str]) -> list[dict[str, Any]]:
    batch = -1 if model.fixed_batch in (None, 1) else model.fixed_batch
    return [
        {
            "name": spec.name,
            "datatype": DATATYPES[dtype],
            "shape": [batch, *spec.shape[1:]],
        }
        for spec, dtype in zip(specs, dtypes)  # noqa: B905 - one type per tensor
    ]


def _model(served: Served) -> Model:
    if served.model is None:
        raise ModelUnavailable(model=served.name)
    return served.model
