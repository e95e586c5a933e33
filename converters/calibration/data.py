"""Arrays of a model's inputs, checked against the model before they are used.

The rule: shape and dtype must be the model's; a dtype is changed only where every value is kept (uint8 to float32);
a value that is not finite, a label that is no class, or nothing at all is refused. Nothing is made up here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch
from agent.contract.manifest import TensorSpec
from converters.calibration.boxes import checked_boxes
from converters.calibration.classes import check_count
from converters.calibration.source import LabelKind

Array = NDArray[Any]

CALIBRATION = "calibration"
EVALUATION = "evaluation"
NUMBERS = 'numbers, with `task = "regression"` in --pipeline FILE'
CHUNK_BYTES = 1 << 24
"""Looked through at a time: the marks of what is finite take memory too."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Samples for a model.

    Attributes:
        path: where they come from.
        sha256: of all that was read: a file's bytes, a folder's names and files, or what a function yielded.
        inputs: one array `[N, ...]` for each input, in the model's order.
        y: class indices int64 `[N]`; real numbers `[N, ...]` or boxes `[N, most boxes, 5]` where those were
            asked for; None without labels.
        classes: names in the order of the classes, where the data named them and nothing else said their order.
    """

    path: Path
    sha256: str
    inputs: tuple[Array, ...]
    y: Array | None = None
    classes: tuple[str, ...] = ()

    @property
    def x(self) -> Array:
        """The first input, `[N, ...]`."""
        return self.inputs[0]

    @property
    def samples(self) -> int:
        """N."""
        return len(self.x)

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value of the first input."""
        return float(self.x.min()), float(self.x.max())

    def sample(self, index: int) -> tuple[Array, ...]:
        """One sample: an array `[1, ...]` for each input."""
        return tuple(array[index : index + 1] for array in self.inputs)


def check_arrays(arrays: Mapping[str, Array], *, path: object, purpose: str) -> None:
    """Refuse what is no samples: text, one number, a value that is not finite, arrays of different lengths.

    Args:
        arrays: the samples' by name, `[N, ...]`.
        path: of the data, for the sentence of an error.
        purpose: likewise.

    Raises:
        DataMismatch: with the name and place.
    """
    expected = "numbers `x` of the shape [N, ...], and labels `y` of the shape [N]"
    for name, array in arrays.items():
        if array.ndim < 2 or not len(array) or array.dtype.kind not in "biuf":
            reason = f"`{name}` is {array.dtype} of the shape {list(array.shape)}"
            raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)
        place = _not_finite(array) if array.dtype.kind == "f" else None
        if place is not None:
            inside = f" at {list(place[1:])}" if place[1:] else ""
            reason = f"sample {place[0]} of `{name}` holds NaN or infinity{inside}"
            raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="finite numbers")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"`{name}` {len(array)}" for name, array in arrays.items())
        reason = f"its arrays hold different numbers of samples: {lengths}"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="as many of each input")


def _not_finite(array: Array) -> tuple[int, ...] | None:
    """Where the first value that is not finite stands, or None."""
    rows = max(CHUNK_BYTES // max(array.nbytes // len(array), 1), 1)
    for begin in range(0, len(array), rows):
        finite = np.isfinite(array[begin : begin + rows])
        if not finite.all():
            place = np.unravel_index(int(np.argmin(finite)), finite.shape)
            return (begin + int(place[0]), *(int(axis) for axis in place[1:]))
    return None


def checked_labels(y: Array, samples: int, *, path: object, purpose: str, label_kind: LabelKind) -> Array:
    """Labels as they are used: classes int64 `[N]`, quantities float64 `[N, ...]`, boxes float64 `[N, most boxes, 5]`.

    Raises:
        DataMismatch: they are none.
    """
    if label_kind is LabelKind.BOXES:
        return checked_boxes(y, samples, path=path, purpose=purpose)
    quantities = label_kind is LabelKind.QUANTITIES
    fits = y.ndim >= 1 and len(y) == samples
    if quantities and fits and y.dtype.kind in "iuf" and np.isfinite(y).all():
        return y.astype(np.float64)
    if not quantities and fits and y.ndim == 1 and y.dtype.kind in "iu":
        return y.astype(np.int64)
    reason = f"`y` is {y.dtype} of the shape {list(y.shape)} for {samples} samples"
    expected = "finite numbers [N, ...]" if quantities else f"class indices, integers [N]; or {NUMBERS}"
    raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)


def check_inputs(data: Data, specs: Sequence[TensorSpec], *, purpose: str) -> None:
    """Refuse data that is not of the model's inputs.

    Args:
        data: what was read, one array an input.
        specs: the model's inputs.
        purpose: for the sentence of an error.

    Raises:
        DataMismatch: shape or dtype of one is another.
    """
    for array, spec in zip(data.inputs, specs, strict=True):
        name = "x" if len(specs) == 1 else spec.name
        found, wanted = array.shape[1:], spec.shape[1:]
        fits = len(found) == len(wanted) and all(
            want in (-1, axis) for want, axis in zip(wanted, found, strict=True)
        )
        if not fits:
            reason = f"`{name}` has the shape {['N', *found]}".replace("'", "")
            raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=described(spec))
        if not np.can_cast(array.dtype, real_dtype(spec), "safe") and array.dtype != np.dtype(spec.dtype):
            reason = f"`{name}` is {array.dtype}, which {real_dtype(spec)} can't hold without loss"
            raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=described(spec))


def check_labels(data: Data, classes: int | None, *, purpose: str) -> None:
    """Refuse labels that are no classes of the model.

    Args:
        data: what was read.
        classes: scores in the model's first output; None when it is not one score a class. One score is that of
            class 1 against class 0.
        purpose: for the sentence of an error.

    Raises:
        DataMismatch: a label is out of range, or the model is no classifier.
    """
    if data.y is None or data.y.dtype.kind == "f":
        return
    if classes is None:
        reason = "it holds labels, and the model's first output is not one score a class"
        expected = f"inputs without labels; or {NUMBERS}"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=expected)
    classes = max(classes, 2)  # one score tells two classes apart
    check_count(data.classes, classes, path=data.path, purpose=purpose)
    low, high = int(data.y.min()), int(data.y.max())
    if low < 0 or high >= classes:
        reason = f"its labels go from {low} to {high}"
        expected = f"labels of 0 to {classes - 1}"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=expected)


def described(spec: TensorSpec) -> str:
    """What data for a tensor are, for a sentence."""
    axes = "".join(f", {'any' if axis < 0 else axis}" for axis in spec.shape[1:])
    return f"{real_dtype(spec)} of the shape [N{axes}]"


def real_dtype(spec: TensorSpec) -> str:
    """What data for the tensor must be: real numbers where its integers stand for such."""
    return "float32" if spec.scale is not None else spec.dtype


def evenly(samples: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` indices, or all of them, spread evenly over `samples`."""
    count = min(samples, wanted)
    return np.asarray(np.arange(count, dtype=np.int64) * samples // max(count, 1))
