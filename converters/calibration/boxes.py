"""True boxes: what a detector is judged by.

The rule: in arrays a box is a row of class, left, top, right, bottom in pixels of the model's input, and a row whose
class is below 0 is none. In a folder's `labels.csv` a box is a row of file, class, left, top, right, bottom in pixels
of that picture, upright; a row that ends behind the file says that there is nothing in it. Preprocessing moves such
boxes as it moves the picture, and what lies outside then is no box any more.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.transforms.frame import Frame
from converters.calibration.classes import numbered

COLUMNS = 5
NONE = -1.0
"""The class of a row that is no box."""
EXPECTED = "boxes [N, most boxes, 5]: class, left, top, right, bottom; a class below 0 is no box"
NO_AREA = (0.0, 0.0, 0.0, 0.0)
"""Stands for corners that are no numbers: refused like a box without an area."""
HEADER = ("file", "class", "left", "top", "right", "bottom")


@dataclass(frozen=True)
class TrueBoxes:
    """Of each file of a folder, boxes `[boxes, 5]` in pixels of the picture."""

    of: Mapping[str, NDArray[np.float64]]

    def moved(self, names: Sequence[str], frames: Sequence[Frame]) -> NDArray[np.float64]:
        """Of these files, where preprocessing put them: `[N, most boxes, 5]`."""
        each = [_moved(self.of[name], frame) for name, frame in zip(names, frames, strict=True)]
        together = np.full((len(each), max(len(boxes) for boxes in each) or 1, COLUMNS), NONE)
        for place, boxes in enumerate(each):
            together[place, : len(boxes)] = boxes
        return together


def checked_boxes(y: NDArray[Any], samples: int, *, path: object, purpose: str) -> NDArray[np.float64]:
    """Boxes of samples out of an array, float64.

    Raises:
        DataMismatch: they are none.
    """
    fits = y.ndim == 3 and y.shape[2] == COLUMNS and len(y) == samples and y.dtype.kind in "iuf"
    if not fits or not np.isfinite(y).all():
        reason = f"`y` is {y.dtype} of the shape {list(y.shape)} for {samples} samples"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=EXPECTED)
    boxes = y.astype(np.float64)
    wrong = (boxes[..., 0] >= 0) & ~_is_box(boxes)
    if wrong.any():
        sample, row = (int(place) for place in np.argwhere(wrong)[0])
        reason = f"row {row} of sample {sample} is {boxes[sample, row].tolist()}"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=EXPECTED)
    return boxes


def read_boxes(
    table: Path, files: Sequence[str], labels: Sequence[str], *, path: object, purpose: str
) -> TrueBoxes:
    """The boxes that a table tells of pictures.

    Args:
        table: the file.
        files: of the folder; each must be in the table.
        labels: names of the classes in their order, or none, where they are told by number.
        path: of the folder, for the sentence of an error.
        purpose: likewise.

    Raises:
        DataUnreadable: it is no such table, or names a file that is not there.
        DataMismatch: a class is none of the labels, or a file is not in it.
    """
    names, classes, corners = _rows(table)
    if missing := sorted(set(files) - set(names)):
        reason = f"`{table.name}` has no row for `{missing[0]}`"
        expected = f"a row for each file: {', '.join(HEADER)}; or the file alone, where it shows nothing"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)
    if unknown := sorted(set(names) - set(files)):
        raise DataUnreadable(path=path, reason=f"`{table.name}` names `{unknown[0]}`: no such file in it")
    found = numbered(
        [name for name in classes if name], labels, path=path, purpose=purpose, what="label", numbers=True
    )
    if found.names:
        reason = f"`{table.name}` holds the class `{found.names[0]}`"
        expected = "whole numbers from 0, or names with their order in --labels FILE"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)
    if labels and len(found.y) and int(found.y.max()) >= len(labels):
        reason = f"`{table.name}` holds the class {int(found.y.max())}"
        expected = f"classes of 0 to {len(labels) - 1}, as in --labels"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)
    numbers = iter(found.y.tolist())
    of: dict[str, list[tuple[float, ...]]] = {name: [] for name in files}
    for name, kind, box in zip(names, classes, corners, strict=True):
        if kind:
            of[name].append((next(numbers), *box))
    return TrueBoxes({name: np.array(boxes, np.float64).reshape(-1, COLUMNS) for name, boxes in of.items()})


def _rows(table: Path) -> tuple[list[str], list[str], list[tuple[float, ...]]]:
    """File, class and corners of each row; a class that is empty stands for nothing in the picture."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataUnreadable(path=table, reason=str(error)) from error
    if sorted(header) != sorted(HEADER):
        raise DataUnreadable(
            path=table, reason=f"its columns are {', '.join(header) or 'none'}, not {', '.join(HEADER)}"
        )
    places = [header.index(name) for name in HEADER]
    names, classes, corners = [], [], []
    for number, row in enumerate(rows, 1):
        cells = [row[place] if place < len(row) else "" for place in places]
        try:
            box = tuple(float(cell) for cell in cells[2:]) if any(cells[1:]) else ()
        except ValueError:
            box = NO_AREA
        if len(row) > len(header) or (box and not (cells[1] and _is_box(np.array([0.0, *box])))):
            raise DataUnreadable(path=table, reason=f"row {number} is no box: {', '.join(row)}")
        names.append(cells[0])
        classes.append(cells[1] if box else "")
        corners.append(box)
    return names, classes, corners


def _is_box(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows `[..., 5]` are a class and a box with an area."""
    kind, left, top, right, bottom = np.moveaxis(rows, -1, 0)
    finite = np.isfinite(rows).all(axis=-1)
    return np.asarray(finite & (kind == np.floor(kind)) & (left < right) & (top < bottom))


def _moved(boxes: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Boxes of a picture where they lie in the input made of it."""
    placed = np.concatenate([boxes[:, :1], frame.inside(boxes[:, 1:])], axis=1)
    return placed[_is_box(placed)]
