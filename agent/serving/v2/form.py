"""What the protocol says of one model, worked out once, when it is first asked for.

The rule: whatever does not depend on the request (names, element types, sizes, the JSON around an answer's numbers) is
not worked out for each request. A form never holds its model: it would keep the memory of one that was unloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from agent.serving.tensors import DATATYPES
from agent.serving.v2.announced import SHAPES_KEPT, Asked, Input, Output
from agent.serving.v2.binary import datatypes

if TYPE_CHECKING:
    from agent.contract.manifest import TensorSpec
    from agent.models import Model
    from agent.serving.served import Served
    from agent.serving.v2.plans import Around, ListPlan, Plan


class Form:
    """All that the protocol says of one model.

    Attributes:
        name, version: of the model.
        inputs, outputs: by name, in the engine's order. labels: of the bundle. scores: the output that they are for.
        opening: the JSON of an answer up to its outputs.
        as_json, as_binary: all outputs, where a request names none.
        batch: the batch that the artifact insists on, or None.
        plans: what requests asked for, by their JSON. list_plans: by what stands around its one list of numbers.
    """

    def __init__(self, served: Served, model: Model) -> None:
        self.name, self.version = served.name, str(served.version)
        self.labels = model.labels
        self.batch = model.fixed_batch if model.fixed_batch != 1 else None
        self.inputs = {
            spec.name: _input(place, spec, dtype)
            for place, (spec, dtype) in enumerate(zip(model.inputs, model.input_dtypes))  # noqa: B905 - one each
        }
        self.outputs = {
            spec.name: Output(place, spec.name, DATATYPES[dtype], np.dtype(dtype).itemsize)
            for place, (spec, dtype) in enumerate(zip(model.outputs, model.output_dtypes))  # noqa: B905 - one each
        }
        self.opening = b'{"model_name":%b,"model_version":"%b","outputs":[' % (
            orjson.dumps(self.name),
            self.version.encode(),
        )
        self.scores = self.outputs[model.bundle.manifest.outputs[0].name]
        self.plans: dict[bytes, Plan] = {}
        self.list_plans: dict[Around, ListPlan] = {}
        self._alone: dict[tuple[Output, bool, tuple[int, ...]], bytes] = {}
        self.as_json = self.whole(binary=False)
        self.as_binary = self.whole(binary=True)

    def alone(self, output: Output, shape: tuple[int, ...], binary: bool) -> bytes:
        """The JSON of an answer of one output: up to its numbers, or all of it where the numbers come as bytes."""
        found = self._alone.get((output, binary, shape))
        if found is None:
            found = self.opening + output.head(shape, binary) + (b"]}" if binary else b"")
            if len(self._alone) < SHAPES_KEPT:
                self._alone[output, binary, shape] = found
        return found

    def whole(self, *, binary: bool) -> tuple[Asked, ...]:
        """All outputs, one way or the other."""
        return tuple(Asked(output, binary, 0) for output in self.outputs.values())


def _input(place: int, spec: TensorSpec, dtype: str) -> Input:
    shape = tuple(spec.shape)
    fixed = list(shape[1:]) if shape and -1 not in shape[1:] else None
    return Input(place, spec.name, shape, fixed, DATATYPES[dtype], datatypes(dtype, spec.dtype), spec.dtype)


def form_of(served: Served, model: Model) -> Form:
    """The form of a model that is served."""
    form: Form | None = served.form
    if form is None:
        form = served.form = Form(served, model)
    return form


def shown(shape: Sequence[Any]) -> str:
    """A shape as Triton's sentences have it."""
    return "[" + ",".join(map(str, shape)) + "]"
