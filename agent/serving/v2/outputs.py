"""From a model's arrays to an answer: JSON, bytes behind JSON, or the names of the best classes.

The rule: numbers that go as bytes are copied once, into the body; what is not finite is written as NaN and Infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from agent.contract.errors import RequestInvalid
from agent.serving.messages import Response, tensor_json
from agent.serving.tensors import Array, contiguous
from agent.serving.v2.announced import Asked, opening
from agent.serving.v2.binary import HEADER, OCTETS, bytes_tensor
from agent.serving.v2.classification import best_classes
from agent.serving.v2.form import Form

_OBJECTS = "Unable to parse 'outputs': it must be an array of objects"


def wanted_outputs(form: Form, outputs: Any, binary: bool) -> Sequence[Asked]:
    """What the request wants of which output; all of them where it names none.

    Args:
        form: of the model.
        outputs: of the request's JSON.
        binary: whether numbers go as bytes where an output does not say it.

    Raises:
        RequestInvalid: an output is not as the protocol or the model wants it.
    """
    if not outputs and (outputs is None or type(outputs) is list):
        return form.as_binary if binary else form.as_json
    if type(outputs) is not list:
        raise RequestInvalid(reason=_OBJECTS)
    wanted = [_wanted(form, item, binary) for item in outputs]
    if len({asked.output for asked in wanted}) < len(
        wanted
    ):  # else a short request could have any long answer
        raise RequestInvalid(reason=f"an output stands twice in the request for model '{form.name}'")
    return wanted


def _wanted(form: Form, item: Any, binary: bool) -> Asked:
    if type(item) is not dict:
        raise RequestInvalid(reason=_OBJECTS)
    name = item.get("name")
    output = form.outputs.get(name) if type(name) is str else None
    if output is None:
        raise RequestInvalid(reason=f"unexpected inference output '{name}' for model '{form.name}'")
    parameters = item.get("parameters") or {}
    if type(parameters) is not dict:
        raise RequestInvalid(reason="Unable to parse 'parameters': it must be an object")
    if "shared_memory_region" in parameters:
        raise RequestInvalid(reason="shared memory is not served: take the tensor with the answer")
    binary = parameters.get("binary_data", binary)
    if type(binary) is not bool:
        raise RequestInvalid(
            reason="Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean"
        )
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise RequestInvalid(
            reason="Unable to set 'classification': attempt to access JSON non-unsigned-integer as unsigned-integer"
        )
    return Asked(output, binary, classes)


def answer(form: Form, identity: str | None, wanted: Sequence[Asked], arrays: Sequence[Array]) -> Response:
    """The whole answer to one request.

    Args:
        form: of the model.
        identity: of the request, or None.
        wanted: what it asked for.
        arrays: of the model, in the engine's order.
    """
    if not identity and len(wanted) == 1 and not wanted[0].classes:
        output, binary, _ = wanted[0]
        array = arrays[output.place]
        head = form.alone(output, array.shape, binary)
        if not binary:
            return Response(200, b"%b%b}]}" % (head, tensor_json(array.ravel())))
        return Response(200, head + array.tobytes(), OCTETS, ((HEADER, b"%d" % len(head)),))
    parts: list[Any] = [form.opening]
    if identity:
        parts = [b'{"id":', orjson.dumps(identity), b",", form.opening[1:]]
    tensors: list[Any] = []
    for output, binary, classes in wanted:
        array = arrays[output.place]
        if classes:
            elements = best_classes(array, classes, form.labels if output is form.scores else ())
            parts += _classified(output.name, elements, len(array), binary, tensors)
        elif binary:
            parts += (output.head(array.shape, True), b",")
            tensors.append(array if array.flags.c_contiguous else contiguous(array))
        else:
            parts += (output.head(array.shape, False), tensor_json(array.ravel()), b"},")
    parts[-1] = parts[-1][:-1] + b"]}"
    if not tensors:
        return Response(200, b"".join(parts))
    length = sum(map(len, parts))
    return Response(200, b"".join(parts + tensors), OCTETS, ((HEADER, b"%d" % length),))


def _classified(
    name: str, rows: Sequence[Sequence[str]], count: int, binary: bool, tensors: list[Any]
) -> tuple[bytes, ...]:
    head = opening(name, "BYTES") + orjson.dumps([count, len(rows[0])])
    elements = [element for row in rows for element in row]
    if not binary:
        return head, b',"data":', orjson.dumps(elements), b"},"
    tensor = bytes_tensor([element.encode() for element in elements])
    tensors.append(tensor)
    return head, b',"parameters":{"binary_data_size":%d}}' % len(tensor), b","
