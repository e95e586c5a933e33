"""What TensorFlow Serving says of a model's signatures, in the JSON of protocol buffers: 64-bit integers as strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.serving.messages import Response, json_response
from agent.serving.v1.signatures import (
    CLASSIFY,
    METHODS,
    PREDICT,
    answering,
    ready_model,
    signatures,
)

if TYPE_CHECKING:
    from agent.contract.manifest import TensorSpec
    from agent.models import Model
    from agent.serving.served import Served

TYPES: Mapping[str, str] = {
    "bool": "DT_BOOL",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
}
"""Element types as numpy and as TensorFlow name them."""


def metadata(served: Served) -> Response:
    """`GET /v1/models/M/metadata`.

    Raises:
        ModelUnavailable: it is not loaded.
    """
    model = ready_model(served)
    found = {name: _signature(model, verb) for name, verb in signatures(model).items()}
    return json_response(
        {
            "model_spec": {"name": served.name, "signature_name": "", "version": str(served.version)},
            "metadata": {"signature_def": {"signature_def": found}},
        }
    )


def _signature(model: Model, verb: str) -> Mapping[str, Any]:
    if verb == PREDICT:
        outputs = _tensors(model.outputs, model.output_dtypes, _batch(model))
    elif verb == CLASSIFY:
        name = answering(model).name
        outputs = {
            "classes": _tensor("", "DT_STRING", (-1, -1)),
            "scores": _tensor(name, "DT_FLOAT", (-1, -1)),
        }
    else:
        outputs = {"outputs": _tensor(answering(model).name, "DT_FLOAT", (-1, 1))}
    return {
        "inputs": _tensors(model.inputs, model.input_dtypes, _batch(model)),
        "outputs": outputs,
        "method_name": METHODS[verb],
        "defaults": {},
    }


def _batch(model: Model) -> int:
    """Of an artifact whose own batch is 1, batches are run one by one."""
    return -1 if model.fixed_batch in (None, 1) else int(model.fixed_batch or -1)


def _tensors(specs: Sequence[TensorSpec], dtypes: Sequence[str], batch: int) -> Mapping[str, Any]:
    return {
        spec.name: _tensor(spec.name, TYPES[dtype], (batch, *spec.shape[1:]))
        for spec, dtype in zip(specs, dtypes)  # noqa: B905 - one type per tensor
    }


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> Mapping[str, Any]:
    return {
        "dtype": dtype,
        "tensor_shape": {
            "dim": [{"size": str(length), "name": ""} for length in shape],
            "unknown_rank": False,
        },
        "name": name,
    }
