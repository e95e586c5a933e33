"""What a request's JSON asks for, kept for the next request with the same JSON.

The rule: only JSON that was read and found right is kept, byte for byte, and only where it has no request id and the
numbers stand behind it, or in one flat list in it: a client's requests then differ in these alone. So what was checked
once is not checked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from agent.contract.errors import RequestInvalid
from agent.serving.tensors import Array, check_finite, from_data
from agent.serving.v2.announced import Asked, Input
from agent.serving.v2.binary import Datatype, from_body
from agent.serving.v2.parameters import Parameters

PLANS_KEPT = 64
LONGEST_BYTES = 2048
_KEY = b'"data"'
_DATA = _KEY + b":"


class Part(NamedTuple):
    """One tensor in a body: so many elements behind `start`, in the model's order."""

    wanted: Input
    datatype: Datatype
    shape: Sequence[int]
    elements: int
    start: int


class Plan(NamedTuple):
    """A whole request. size_bytes: of its body."""

    size_bytes: int
    parts: tuple[Part, ...]
    parameters: Parameters
    wanted: Sequence[Asked]

    def arrays(self, body: bytes) -> list[Array]:
        """The tensors of a body of this size.

        Raises:
            RequestInvalid: one holds NaN or Infinity where its model stores integers.
        """
        found = []
        for wanted, datatype, shape, elements, start in self.parts:
            array = from_body(datatype, elements, body, start).reshape(shape)
            if datatype.checked:
                check_finite(array, wanted.name, wanted.stored)
            found.append(array)
        return found


class ListPlan(NamedTuple):
    """A whole request whose one tensor stands in its JSON. dtype: of the numbers, by numpy's name."""

    wanted: Input
    datatype: Datatype
    dtype: str
    shape: Sequence[int]
    parameters: Parameters
    outputs: Sequence[Asked]


Around = tuple[bytes, bytes]
"""A request's JSON before and behind its one list of numbers."""


def by_list_plan(
    plans: Mapping[Around, ListPlan], body: bytes
) -> tuple[list[Array], None, Parameters, Sequence[Asked]] | None:
    """What a request asks for whose JSON, but for its numbers, is kept: tensors, no id, parameters, outputs. None where
    all of it must be read, to know it or to say what is wrong with it.

    Raises:
        RequestInvalid: it holds NaN or Infinity where its model stores integers.
    """
    start, end = _list_in(body)
    plan = plans.get((body[:start], body[end:]))
    if plan is None:
        return None
    wanted, datatype, dtype, shape, parameters, outputs = plan
    try:
        array = from_data(orjson.loads(body[start:end]), dtype, shape)
    except (orjson.JSONDecodeError, RequestInvalid):
        return None
    if datatype.widened is not None:
        array = datatype.widened(array)
    if datatype.checked:
        check_finite(array, wanted.name, wanted.stored)
    return [array], None, parameters, outputs


def keep_list_plan(
    plans: dict[Around, ListPlan],
    inputs: Mapping[str, Input],
    body: bytes,
    document: Mapping[str, Any],
    parameters: Parameters,
    outputs: Sequence[Asked],
) -> None:
    """Keep what a request meant that was read without a complaint, and whose numbers stand in one flat list.

    Args:
        plans: of the model.
        inputs: of the model, by name.
        body: the request as it came.
        document: the same, read.
        parameters: what was read from it, and
        outputs: which, and how.
    """
    item = document["inputs"][0]
    start, end = _list_in(body)
    if "id" in document or len(document["inputs"]) > 1 or len(body) - (end - start) > LONGEST_BYTES:
        return
    # Where there is one key of this name, and nothing that hides a quotation mark, the list is where it seems to be.
    if body.count(_KEY) != 1 or b"\\" in body or type(item["data"][0]) is list:
        return
    wanted = inputs[item["name"]]
    datatype = wanted.types[item["datatype"]]
    if datatype.dtype is None:
        return
    if len(plans) >= PLANS_KEPT:
        plans.clear()
    around = body[:start], body[end:]
    plans[around] = ListPlan(wanted, datatype, datatype.dtype, item["shape"], parameters, outputs)


def _list_in(body: bytes) -> tuple[int, int]:
    """Where the first list of numbers under the key `data` begins and ends; where there is none, at the end."""
    start = body.find(_DATA)
    if start < 0:
        return len(body), len(body)
    start += len(_DATA)
    return start, body.find(b"]", start) + 1 or len(body)


def keep_plan(
    plans: dict[bytes, Plan],
    inputs: Mapping[str, Input],
    head: bytes,
    document: Mapping[str, Any],
    size_bytes: int,
    parameters: Parameters,
    wanted: Sequence[Asked],
) -> None:
    """Keep what a request meant that was read without a complaint.

    Args:
        plans: of the model.
        inputs: of the model, by name.
        head: the request's JSON as it came.
        document: the same, read.
        size_bytes: of the whole body.
        parameters: what was read from it, and
        wanted: which outputs, and how.
    """
    if len(head) > LONGEST_BYTES or "id" in document or any("data" in item for item in document["inputs"]):
        return
    parts: dict[int, Part] = {}
    start = len(head)
    for item in document["inputs"]:
        tensor = inputs[item["name"]]
        datatype, size = tensor.types[item["datatype"]], item["parameters"]["binary_data_size"]
        parts[tensor.place] = Part(tensor, datatype, item["shape"], size // datatype.wire.itemsize, start)
        start += size
    if len(plans) >= PLANS_KEPT:
        plans.clear()
    plans[head] = Plan(size_bytes, tuple(parts[place] for place in sorted(parts)), parameters, wanted)
