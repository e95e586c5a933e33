"""From a request's JSON and bytes to the arrays of a model, with Triton's own words for what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agent.contract.errors import RequestInvalid
from agent.serving.tensors import Array, check_finite, from_data
from agent.serving.v2.announced import Input
from agent.serving.v2.binary import Datatype, from_body
from agent.serving.v2.form import Form, shown

_INTEGER = frozenset({int})
_OBJECTS = "Unable to parse 'inputs': it must be an array of objects"
_ONE_PLACE = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. But"
)


def read_inputs(form: Form, document: Mapping[str, Any], body: bytes, start: int) -> list[Array]:
    """The request's tensors in the order of the model's inputs.

    Args:
        form: of the model.
        document: the request's JSON.
        body: all of the request.
        start: where the bytes of its tensors begin.

    Raises:
        RequestInvalid: they are not as the protocol or the model wants them.
    """
    items = document.get("inputs")
    if type(items) is not list:
        raise RequestInvalid(reason=_OBJECTS)
    found: dict[int, Array] = {}
    for item in items:
        if type(item) is not dict:
            raise RequestInvalid(reason=_OBJECTS)
        name = item.get("name")
        wanted = form.inputs.get(name) if type(name) is str else None
        if wanted is None:
            raise RequestInvalid(reason=f"unexpected inference input '{name}' for model '{form.name}'")
        if wanted.place in found:
            raise RequestInvalid(reason=f"input '{name}' stands twice in the request for model '{form.name}'")
        found[wanted.place], start = _tensor(form, wanted, item, body, start, document)
    if start != len(body):
        raise RequestInvalid(reason=f"unexpected additional input data for model '{form.name}'")
    if len(found) != len(form.inputs):
        raise RequestInvalid(reason=_missing(form, found))
    return [found[place] for place in range(len(found))]


def read_raw(form: Form, body: bytes) -> list[Array]:
    """The one tensor of a body that is nothing else: one sample.

    Raises:
        RequestInvalid: the model has several inputs, or the bytes are not one sample.
    """
    if len(form.inputs) != 1:
        raise RequestInvalid(
            reason=f"Raw request must only have 1 input (found 1) to be deduced but got {len(form.inputs)} inputs "
            f"in '{form.name}' model configuration"
        )
    (wanted,) = form.inputs.values()
    datatype = wanted.types[wanted.expected]
    shape = [1, *wanted.shape[1:]]
    if wanted.fixed is None:
        if shape.count(-1) != 1:
            raise RequestInvalid(
                reason=f"The shape of the raw input '{wanted.name}' can not be deduced because there are more than "
                "one variable-sized dimension"
            )
        others = datatype.wire.itemsize * math.prod(length for length in shape if length != -1)
        shape[shape.index(-1)] = max(1, len(body) // others)
    return [_counted(form, wanted, datatype, shape, body, 0, len(body), {})]


def _tensor(
    form: Form, wanted: Input, item: Mapping[str, Any], body: bytes, start: int, document: Mapping[str, Any]
) -> tuple[Array, int]:
    """One tensor, and where the bytes after it begin."""
    name = item.get("datatype")
    datatype = wanted.types.get(name) if type(name) is str else None
    if datatype is None:
        raise RequestInvalid(
            reason=f"inference input data-type is '{name}', model expects '{wanted.expected}' for '{form.name}'"
        )
    shape = item.get("shape")
    if type(shape) is not list or not _INTEGER.issuperset(map(type, shape)):
        raise RequestInvalid(reason="Unable to parse 'shape': it must be an array of integers")
    if not shape or shape[0] < 1 or (shape[1:] != wanted.fixed and not _fits(shape, wanted.shape)):
        told = [form.batch or -1, *wanted.shape[1:]] if wanted.shape else []
        raise RequestInvalid(
            reason=f"[request id: {document.get('id') or '<id_unknown>'}] unexpected shape for input "
            f"'{wanted.name}' for model '{form.name}'. Expected {shown(told)}, got {shown(shape)}"
        )
    parameters = item.get("parameters")
    if parameters:
        size = _binary_size(item, parameters)
        if size is not None:
            if start + size > len(body):
                raise RequestInvalid(
                    reason=f"unexpected size for input '{wanted.name}', expecting {start + size - len(body)} "
                    f"additional bytes for model '{form.name}'"
                )
            return _counted(form, wanted, datatype, shape, body, start, size, document), start + size
    if "data" not in item:
        raise RequestInvalid(reason=f"{_ONE_PLACE} no field is set")
    return _from_json(wanted, datatype, item["data"], shape), start


def _from_json(wanted: Input, datatype: Datatype, data: Any, shape: Sequence[int]) -> Array:
    if datatype.dtype is None:
        raise RequestInvalid(
            reason=f"receiving {datatype.name} data via JSON is not supported. Please use the binary data format for "
            f"input {wanted.name}"
        )
    array = from_data(data, datatype.dtype, shape)
    if datatype.widened is not None:
        array = datatype.widened(array)
    if datatype.checked:
        check_finite(array, wanted.name, wanted.stored)
    return array


def _counted(
    form: Form, wanted: Input, datatype: Datatype, shape: Sequence[int], body: bytes, start: int, size: int,
    document: Mapping[str, Any],
) -> Array:  # fmt: skip
    count = math.prod(shape)
    expected = count * datatype.wire.itemsize
    if size != expected:
        raise RequestInvalid(
            reason=f"[request id: {document.get('id') or '<id_unknown>'}] input byte size mismatch for input "
            f"'{wanted.name}' for model '{form.name}'. Expected {expected}, got {size}"
        )
    array = from_body(datatype, count, body, start).reshape(shape)
    if datatype.checked:
        check_finite(array, wanted.name, wanted.stored)
    return array


def _binary_size(item: Mapping[str, Any], parameters: Any) -> int | None:
    """Bytes that the tensor has behind the JSON; None where its numbers stand in the JSON."""
    if type(parameters) is not dict:
        raise RequestInvalid(reason="Unable to parse 'parameters': it must be an object")
    size = parameters.get("binary_data_size")
    if type(size) is int and size >= 0 and "data" not in item and "shared_memory_region" not in parameters:
        return size
    set_fields = [name for name in ("binary_data_size", "shared_memory_region") if name in parameters]
    if set_fields and "data" in item:
        set_fields.insert(0, "data")
    if len(set_fields) > 1:
        raise RequestInvalid(reason=f"{_ONE_PLACE} set {' '.join(map(repr, set_fields))}")
    if set_fields == ["shared_memory_region"]:
        raise RequestInvalid(reason="shared memory is not served: send the tensor with the request")
    if set_fields:
        raise RequestInvalid(
            reason="Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer"
        )
    return None


def _missing(form: Form, found: Mapping[int, Array]) -> str:
    got = ",".join(f"'{each.name}'" for each in form.inputs.values() if each.place in found)
    missing = ",".join(f"'{each.name}'" for each in form.inputs.values() if each.place not in found)
    return (
        f"expected {len(form.inputs)} inputs but got {len(found)} inputs for model '{form.name}'. Got input(s) "
        f"[{got}], but missing required input(s) [{missing}]. Please provide all required input(s)."
    )


def _fits(shape: Sequence[int], told: Sequence[int]) -> bool:
    return len(shape) == len(told) and all(
        want == length or (want == -1 and length >= 1)
        for length, want in zip(shape[1:], told[1:])  # noqa: B905 - of one length
    )
