"""What a request's JSON asks for, kept for the next request with the same JSON.

The rule: only JSON that was read and found right is kept, byte for byte, and only where it has no request id and all
numbers stand behind it: a client's requests then differ in these alone. So what was checked once is not checked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.serving.tensors import Array, check_finite
from agent.serving.v2.announced import Asked, Input
from agent.serving.v2.binary import Datatype, from_body
from agent.serving.v2.parameters import Parameters

PLANS_KEPT = 64
LONGEST_BYTES = 2048


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
