"""The tensors of one model as the protocol announces them, and as a request asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import orjson

from agent.serving.v2.binary import Datatype

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


def opening(name: str, datatype: str) -> bytes:
    """The JSON of a tensor up to its shape."""
    return b'{"name":%b,"datatype":"%b","shape":' % (orjson.dumps(name), datatype.encode())
