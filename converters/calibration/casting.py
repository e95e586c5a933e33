"""Numbers in the model's own type.

The rule: floats are rounded to the model's floats, as every framework does it, and stay finite; whole numbers stay
what they are; what may have a fraction never becomes whole. What a type holds without loss is left as it is: uint8
pictures for a model of floats take a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 24
"""Looked through at a time: the marks of what is wrong take memory too."""

Array = NDArray[Any]
Place = tuple[int, ...]


def may_become(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether numbers of a type may stand for those of another, as far as their values allow it."""
    return np.can_cast(given, wanted, "same_kind") or (given.kind in "iu" and wanted.kind in "iu")


def cast(array: Array, wanted: np.dtype[Any]) -> tuple[Array, Place | None]:
    """The numbers in another type, and where the first stands that it can't hold; None where it holds all."""
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(wanted)
    if wanted.kind == "f" and array.dtype.kind == "f":
        return made, not_finite(made)

    def changed(rows: slice) -> NDArray[np.bool_]:
        # Back in the given type, what only changed its sign looks as it was.
        other = (made[rows].astype(array.dtype) != array[rows]) | ((made[rows] < 0) != (array[rows] < 0))
        return np.asarray(other)

    return made, _first(len(array), array.nbytes, changed)


def not_finite(array: Array) -> Place | None:
    """Where the first value that is not finite stands, or None."""
    return _first(len(array), array.nbytes, lambda rows: ~np.isfinite(array[rows]))


def _first(length: int, size_bytes: int, wrong: Callable[[slice], NDArray[np.bool_]]) -> Place | None:
    """The place of the first mark, looked for in some rows after the others."""
    rows = max(CHUNK_BYTES // max(size_bytes // max(length, 1), 1), 1)
    for begin in range(0, length, rows):
        with np.errstate(invalid="ignore"):
            marks = wrong(slice(begin, begin + rows))
        if marks.any():
            place = np.unravel_index(int(np.argmax(marks)), marks.shape)
            return (begin + int(place[0]), *(int(axis) for axis in place[1:]))
    return None
