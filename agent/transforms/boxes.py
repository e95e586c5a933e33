"""Boxes: out of the layouts that detectors answer in, and one for each thing.

The rule: inside edge a box is (left, top, right, bottom) in pixels of the model's input, float32. What is not finite is
no box. Of two boxes of one class that overlap too much the one with the better score stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid

Array = NDArray[Any]

FORMATS = frozenset({"xyxy", "yxyx", "xywh", "cxcywh"})
"""Two corners, two corners with y first, corner and size, centre and size."""
ORDERS = frozenset({"boxes-first", "values-first"})
UNITS = frozenset({"pixels", "fraction"})


@dataclass(frozen=True)
class Boxes:
    """N boxes.

    Attributes:
        corners: float32 `[N, 4]`. scores: float32 `[N]`. classes: int64 `[N]`.
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def chosen(self, which: Array) -> Boxes:
        """Some of them, in the order that `which` says."""
        return Boxes(self.corners[which], self.scores[which], self.classes[which])


def read_boxes(outputs: Sequence[Array], parameters: Mapping[str, Any], *, columns: int, rows: int) -> Boxes:
    """The boxes in a detector's outputs, by the parameters of the step `boxes`.

    Args:
        outputs: of one sample, real numbers, with a batch axis of 1 or without.
        parameters: see `agent.transforms.pipeline`.
        columns: of the model's input.
        rows: likewise.

    Raises:
        DocumentInvalid: the outputs are not as the step says.
    """
    first = parameters["order"] == "values-first"
    values = _table(outputs, parameters["boxes"], first, "boxes")
    if values.shape[1] < 4:
        raise _mismatch(f"`boxes` has {values.shape[1]} values a box, 4 are needed")
    if parameters["scores"] == parameters["boxes"]:
        scores = values[:, 4:]
    else:
        scores = _table(outputs, parameters["scores"], first, "scores")
    if parameters["objectness"]:
        scores = scores[:, 1:] * scores[:, :1]
    if not scores.shape[1]:
        raise _mismatch("`scores` holds none")
    if parameters["classes"] >= 0:
        stored = _table(outputs, parameters["classes"], first, "classes")[:, 0]
        classes = np.nan_to_num(stored, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
    else:
        classes = np.argmax(scores, axis=1).astype(np.int64)
    best = scores.max(axis=1)
    if not len(values) == len(best) == len(classes):
        raise _mismatch(f"{len(values)} boxes, {len(best)} scores, {len(classes)} classes")
    corners = _corners(values[:, :4], parameters["format"])
    if parameters["unit"] == "fraction":
        corners = corners * np.array([columns, rows, columns, rows], np.float32)
    usable = np.isfinite(corners).all(axis=1) & np.isfinite(best)
    return Boxes(corners, best, classes).chosen(usable)


def best_boxes(boxes: Boxes, *, score: float, overlap: float, limit: int) -> Boxes:
    """Non-maximum suppression within each class.

    Args:
        boxes: all.
        score: least score that is kept.
        overlap: most that two boxes of one class may have in common, as part of what they cover together.
        limit: how many are kept at most.

    Returns:
        Best first; of equal scores the earlier one first.
    """
    boxes = boxes.chosen(boxes.scores >= score)
    left = np.argsort(-boxes.scores, kind="stable")
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(int(best))
        rivals = boxes.classes[left] == boxes.classes[best]
        rivals &= intersection_over_union(boxes.corners[best][None], boxes.corners[left])[0] > overlap
        left = left[~rivals]
    return boxes.chosen(np.array(kept, dtype=np.int64))


def intersection_over_union(left: Array, right: Array) -> NDArray[np.float64]:
    """Of boxes `[A, 4]` with boxes `[B, 4]`, `[A, B]`, 0 to 1; a box without area overlaps with none."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    sides = np.minimum(left[:, None, 2:], right[:, 2:]) - np.maximum(left[:, None, :2], right[:, :2])
    common = np.prod(np.clip(sides, 0.0, None), axis=2)
    left_areas, right_areas = (
        np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1) for boxes in (left, right)
    )
    together = left_areas[:, None] + right_areas - common
    return np.asarray(np.divide(common, together, out=np.zeros_like(common), where=together > 0))


def _table(outputs: Sequence[Array], place: int, values_first: bool, name: str) -> NDArray[np.float32]:
    """An output as `[N, values]`."""
    if not 0 <= place < len(outputs):
        raise _mismatch(f"`{name}` is output {place}, the model has {len(outputs)}")
    array = np.asarray(outputs[place], dtype=np.float32)
    if array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        return array[:, np.newaxis]
    if array.ndim != 2:
        raise _mismatch(f"`{name}` has the shape {list(array.shape)}")
    return array.T if values_first else array


def _corners(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    a, b, c, d = values.T
    if kind == "yxyx":
        a, b, c, d = b, a, d, c
    elif kind == "xywh":
        c, d = a + c, b + d
    elif kind == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return np.stack([a, b, c, d], axis=1)


def _mismatch(reason: str) -> DocumentInvalid:
    return DocumentInvalid(document="step `boxes`", reason=reason)
