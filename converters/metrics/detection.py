"""Mean average precision of boxes, as COCO counts it.

The rule: over the classes that occur, and over the overlaps 0.50, 0.55, … 0.95 (or 0.50 alone), the mean of the
precision at 101 levels of recall, where the precision at a level is the best at it or beyond it. Each box found takes
the box of its class that it overlaps most and that no better score has taken. At most 100 boxes a picture count.
(T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and the evaluation's own page.)
There are no crowds and no areas here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.transforms.boxes import Boxes, intersection_over_union

Array = NDArray[Any]
OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
MOST_BOXES = 100
RECALLS = np.linspace(0.0, 1.0, 101)


def mean_average_precision(
    found: Sequence[Boxes], truth: Sequence[Boxes], overlaps: Sequence[float] = OVERLAPS
) -> float:
    """Mean average precision, 0 to 1; 0 where there is no true box at all.

    Args:
        found: of each picture, with scores.
        truth: of each picture; the scores are not read.
        overlaps: least intersection over union of a hit.
    """
    kinds = sorted({int(kind) for boxes in truth for kind in boxes.classes})
    each = [_average_precision(found, truth, kind, overlaps) for kind in kinds]
    return float(np.mean(each)) if each else 0.0


def boxes_of(y: Array) -> list[Boxes]:
    """True boxes out of an array `[N, most boxes, 5]`: class, left, top, right, bottom; a class below 0 is none."""
    return [
        Boxes(row[:, 1:].astype(np.float32), np.ones(len(row), np.float32), row[:, 0].astype(np.int64))
        for row in (picture[picture[:, 0] >= 0] for picture in y)
    ]


def _average_precision(
    found: Sequence[Boxes], truth: Sequence[Boxes], kind: int, overlaps: Sequence[float]
) -> float:
    """Of one class, the mean over the overlaps."""
    scores: list[Array] = []
    hits: list[Array] = []
    wanted = 0
    for guessed, true in zip(found, truth, strict=True):
        best = np.argsort(-guessed.scores, kind="stable")[:MOST_BOXES]
        mine = guessed.chosen(best[guessed.classes[best] == kind])
        there = true.corners[true.classes == kind]
        wanted += len(there)
        scores.append(mine.scores)
        hits.append(_hits(intersection_over_union(mine.corners, there), overlaps))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits, axis=1)[:, order]
    return float(np.mean([_area(row, wanted) for row in right]))


def _hits(overlap: Array, overlaps: Sequence[float]) -> NDArray[np.bool_]:
    """Which boxes found are hits, best score first, `[overlaps, boxes]`."""
    hits = np.zeros((len(overlaps), len(overlap)), np.bool_)
    for level, least in enumerate(overlaps):
        free = np.ones(overlap.shape[1], np.bool_)
        for box, row in enumerate(overlap):
            open_row = np.where(free, row, -1.0)
            if len(row) and open_row.max() >= least:
                free[int(np.argmax(open_row))] = False
                hits[level, box] = True
    return hits


def _area(right: NDArray[np.bool_], wanted: int) -> float:
    """Mean precision at 101 levels of recall."""
    if not wanted or not len(right):
        return 0.0
    true = np.cumsum(right)
    precision = true / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(true / wanted, RECALLS - 1e-12, side="left")
    return float(np.mean(np.where(place < len(best), best[np.minimum(place, len(best) - 1)], 0.0)))
