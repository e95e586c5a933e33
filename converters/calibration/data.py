"""Arrays of a model's inputs, checked against the model before they are used.

The rule: the shape must be the model's, and the numbers such as its type holds (`converters.calibration.casting`); a
value that is not finite, a label that is no class, or nothing at all is refused. Nothing is made up here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch
from agent.contract.manifest import TensorSpec
from converters.calibration.boxes import checked_boxes
from converters.calibration.casting import Array, Place, cast, may_become, not_finite
from converters.calibration.classes import check_count
from converters.calibration.source import LabelKind

CALIBRATION = "calibration"
EVALUATION = "evaluation"
NUMBERS = 'numbers, with `task = "regression"` in --pipeline FILE'


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
        place = not_finite(array) if array.dtype.kind == "f" else None
        if place is not None:
            reason = f"{_at(place, name)}: NaN or infinity"
            raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="finite numbers")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"`{name}` {len(array)}" for name, array in arrays.items())
        reason = f"its arrays hold different numbers of samples: {lengths}"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="as many of each input")


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
    reason = f"`y` is {y.dtype} of the shape {list(y.shape)}, for {samples} sample{'s' * (samples > 1)}"
    expected = "finite numbers [N, ...]" if quantities else f"class indices, integers [N]; or {NUMBERS}"
    raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)


def fitted(data: Data, specs: Sequence[TensorSpec], *, purpose: str) -> Data:
    """The data in the types of the model's inputs.

    Args:
        data: what was read, one array an input.
        specs: the model's inputs.
        purpose: for the sentence of an error.

    Raises:
        DataMismatch: the shape of one is another, or its numbers are none of the input's type.
    """
    arrays = []
    for array, spec in zip(data.inputs, specs, strict=True):
        name = "x" if len(specs) == 1 else spec.name
        try:
            arrays.append(_fitted(array, spec, name))
        except ValueError as error:
            raise DataMismatch(
                purpose=purpose, path=data.path, reason=str(error), expected=described(spec)
            ) from error
    return replace(data, inputs=tuple(arrays))


def _fitted(array: Array, spec: TensorSpec, name: str) -> Array:
    """One input's array; ValueError with the reason where it is none."""
    found, axes = array.shape[1:], spec.shape[1:]
    if len(found) != len(axes) or any(want not in (-1, axis) for want, axis in zip(axes, found, strict=True)):
        raise ValueError(f"`{name}` has the shape {['N', *found]}".replace("'", ""))
    wanted = np.dtype(real_dtype(spec))
    if array.dtype == np.dtype(spec.dtype) or np.can_cast(array.dtype, wanted, "safe"):
        return array
    if not may_become(array.dtype, wanted):
        raise ValueError(f"`{name}` is {array.dtype}, which can't stand for {wanted}")
    made, place = cast(array, wanted)
    if place is not None:
        raise ValueError(f"{_at(place, name)}: {array[place]} is no {wanted}")
    return made


def _at(place: Place, name: str) -> str:
    return f"sample {place[0]} of `{name}`{f' at {list(place[1:])}' if place[1:] else ''}"


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
