"""What the protocol says of one model, worked out once, when it is first asked for.

The rule: whatever does not depend on the request (names, element types, sizes, the JSON around an answer's numbers) is
not worked out for each request. A form never holds its model: it would keep the memory of one that was unloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import orjson

from agent.serving.tensors import DATATYPES
from agent.serving.v2.binary import Datatype, datatypes
from agent.serving.v2.classification import read_labels

if TYPE_CHECKING:
    from agent.contract.manifest import TensorSpec
    from agent.models import Bundle, Model
    from agent.serving.served import Served
    from agent.serving.v2.plans import Plan

SHAPES_KEPT = 64
"""Shapes of one output whose JSON is kept."""


class Input(NamedTuple):
    """One input of a model.

    Attributes:
        place: among the engine's inputs. name, shape: its own; axis 0 is the batch, -1 takes any length.
        fixed: the axes after the batch, or None where one of them takes any length.
        expected: the element type that it is announced with. types: those that it takes, by the protocol's name.
        stored: the element type in the artifact, by numpy's name.
    """

    place: int
    name: str
    shape: tuple[int, ...]
    fixed: list[int] | None
    expected: str
    types: Mapping[str, Datatype]
    stored: str


class Output:
    """One output of a model, and the JSON before its numbers, by shape.

    Attributes:
        place: among the engine's outputs. name, datatype: as announced. itemsize: bytes of an element.
    """

    __slots__ = ("_heads", "_itemsize", "_opening", "datatype", "name", "place")

    def __init__(self, place: int, name: str, datatype: str, itemsize: int) -> None:
        self.place, self.name, self.datatype = place, name, datatype
        self._itemsize = itemsize
        self._opening = opening(name, datatype)
        self._heads: dict[tuple[bool, tuple[int, ...]], bytes] = {}

    def head(self, shape: tuple[int, ...], binary: bool) -> bytes:
        """The JSON of one tensor: up to its numbers, or all of it where the numbers come as bytes."""
        found = self._heads.get((binary, shape))
        if found is None:
            found = self._opening + orjson.dumps(shape)
            if binary:
                size = int(np.prod(shape, dtype=np.int64)) * self._itemsize
                found += b',"parameters":{"binary_data_size":%d}}' % size
            else:
                found += b',"data":'
            if len(self._heads) < SHAPES_KEPT:
                self._heads[binary, shape] = found
        return found


class Asked(NamedTuple):
    """One output as a request asks for it.

    Attributes:
        output: which. binary: as bytes behind the JSON.
        classes: how many of the best classes to name; 0 for the numbers themselves.
    """

    output: Output
    binary: bool
    classes: int


class Form:
    """All that the protocol says of one model.

    Attributes:
        name, version: of the model.
        inputs, outputs: by name, in the engine's order. scores: the output that the bundle's labels are for.
        opening: the JSON of an answer up to its outputs.
        as_json, as_binary: all outputs, where a request names none.
        batch: the batch that the artifact insists on, or None.
        plans: what requests asked for, by their JSON.
    """

    def __init__(self, served: Served, model: Model) -> None:
        self.name, self.version = served.name, str(served.version)
        self._bundle: Bundle = model.bundle
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

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The bundle's labels, read when they are first wanted."""
        return read_labels(self._bundle)

    def whole(self, *, binary: bool) -> tuple[Asked, ...]:
        """All outputs, one way or the other."""
        return tuple(Asked(output, binary, 0) for output in self.outputs.values())


def opening(name: str, datatype: str) -> bytes:
    """The JSON of a tensor up to its shape."""
    return b'{"name":%b,"datatype":"%b","shape":' % (orjson.dumps(name), datatype.encode())


def _input(place: int, spec: TensorSpec, dtype: str) -> Input:
    shape = tuple(spec.shape)
    fixed = list(shape[1:]) if shape and -1 not in shape[1:] else None
    return Input(place, spec.name, shape, fixed, DATATYPES[dtype], datatypes(dtype, spec.dtype), spec.dtype)


_FORMS: WeakKeyDictionary[Model, Form] = WeakKeyDictionary()


def form_of(served: Served, model: Model) -> Form:
    """The form of a model that is served."""
    form = _FORMS.get(model)
    if form is None:
        form = _FORMS[model] = Form(served, model)
    return form


def shown(shape: Sequence[Any]) -> str:
    """A shape as Triton's sentences have it."""
    return "[" + ",".join(map(str, shape)) + "]"
