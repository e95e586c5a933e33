"""Mean average precision of boxes, as COCO counts it.

The rule: over the classes that occur, and over the overlaps 0.50, 0.55, … 0.95 (or 0.50 alone), the mean of the
precision at 101 levels of recall, where the precision at a level is the best at it or beyond it. Each box found takes
the box of its class that it overlaps most and that no better score has taken. At most 100 boxes a picture count.
(T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and the evaluation's own page.)
There are no crowds and no areas here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import Step
from agent.transforms.answers import detected
from agent.transforms.boxes import Boxes, intersection_over_union

Array = NDArray[Any]
OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
MOST_BOXES = 100
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Matches:
    """What a detector found in one picture, against what is there. Pictures are matched once, and counted often.

    Attributes:
        wanted: true boxes by class.
        scores: of the boxes found, by class, float32 `[boxes]`.
        hits: which of them are hits, by class, `[overlaps, boxes]`.
    """

    wanted: Mapping[int, int]
    scores: Mapping[int, Array]
    hits: Mapping[int, NDArray[np.bool_]]


def matched(found: Boxes, true: Boxes, overlaps: Sequence[float] = OVERLAPS) -> Matches:
    """Give each box found the true box that it hits.

    Args:
        found: in a picture, with scores.
        true: in it; the scores are not read.
        overlaps: least intersection over union of a hit.
    """
    best = np.argsort(-found.scores, kind="stable")[:MOST_BOXES]
    kinds = {int(kind) for kind in (*true.classes, *found.classes[best])}
    mine = {kind: found.chosen(best[found.classes[best] == kind]) for kind in kinds}
    there = {kind: true.corners[true.classes == kind] for kind in kinds}
    return Matches(
        wanted={kind: len(there[kind]) for kind in kinds if len(there[kind])},
        scores={kind: mine[kind].scores for kind in kinds},
        hits={
            kind: _hits(intersection_over_union(mine[kind].corners, there[kind]), overlaps) for kind in kinds
        },
    )


class Counted:
    """Pictures that were matched, ready to be counted in any selection: sorted by score once."""

    def __init__(self, pictures: Sequence[Matches]) -> None:
        self._pictures = len(pictures)
        kinds = sorted({kind for picture in pictures for kind in picture.wanted})
        self._classes = [_Class.of(pictures, kind) for kind in kinds]

    def mean_average_precision(self, at: NDArray[np.int64] | None = None) -> float:
        """Mean average precision, 0 to 1, of the pictures with these indices; 0 where there is no true box at all."""
        every = np.arange(self._pictures) if at is None else at
        times = np.bincount(every, minlength=self._pictures)
        each = [one.average_precision(times) for one in self._classes if times @ one.wanted]
        return float(np.mean(each)) if each else 0.0


@dataclass(frozen=True)
class _Class:
    """Boxes of one class, best score first.

    Attributes:
        pictures: that each box was found in, `[boxes]`.
        hits: which are hits, `[overlaps, boxes]`.
        wanted: true boxes, `[pictures]`.
    """

    pictures: NDArray[np.int64]
    hits: NDArray[np.bool_]
    wanted: NDArray[np.int64]

    @classmethod
    def of(cls, pictures: Sequence[Matches], kind: int) -> _Class:
        seen = [(place, picture) for place, picture in enumerate(pictures) if kind in picture.scores]
        order = np.argsort(-np.concatenate([picture.scores[kind] for _, picture in seen]), kind="stable")
        places = np.concatenate([np.full(len(picture.scores[kind]), place) for place, picture in seen])
        hits = np.concatenate([picture.hits[kind] for _, picture in seen], axis=1)
        wanted = np.array([picture.wanted.get(kind, 0) for picture in pictures], np.int64)
        return cls(places[order], hits[:, order], wanted)

    def average_precision(self, times: NDArray[np.int64]) -> float:
        """The mean over the overlaps, with each picture as often as `times` says."""
        weights = times[self.pictures]
        found, wanted = np.cumsum(weights), int(times @ self.wanted)
        hits = np.cumsum(self.hits * weights, axis=1)
        return float(np.mean([_area(row, found, wanted) for row in hits]))


@dataclass(frozen=True)
class Detecting:
    """How boxes are read out of a detector's outputs.

    Attributes:
        steps: its postprocessing, checked.
        columns, rows: of its input; 1 where that is no picture, so that boxes stay fractions.
    """

    steps: tuple[Step, ...]
    columns: int = 1
    rows: int = 1

    def boxes(self, outputs: Sequence[Array]) -> list[Boxes]:
        """Of each sample.

        Args:
            outputs: real numbers `[N, ...]`, one array an output.

        Raises:
            DocumentInvalid: the outputs are not as the steps want them.
        """
        return [
            detected(
                self.steps, [array[k : k + 1] for array in outputs], columns=self.columns, rows=self.rows
            )
            for k in range(len(outputs[0]))
        ]


def boxes_of(y: Array) -> list[Boxes]:
    """True boxes out of an array `[N, most boxes, 5]`: class, left, top, right, bottom; a class below 0 is none."""
    return [
        Boxes(row[:, 1:].astype(np.float32), np.ones(len(row), np.float32), row[:, 0].astype(np.int64))
        for row in (picture[picture[:, 0] >= 0] for picture in y)
    ]


def _hits(overlap: Array, overlaps: Sequence[float]) -> NDArray[np.bool_]:
    """Which boxes found are hits, best score first, `[overlaps, boxes]`."""
    boxes, true = overlap.shape
    least, levels = np.asarray(overlaps), np.arange(len(overlaps))
    hits = np.zeros((len(overlaps), boxes), np.bool_)
    free = np.ones((len(overlaps), true), np.bool_)
    for box in range(boxes if true else 0):
        open_boxes = np.where(free, overlap[box], -1.0)
        best = np.argmax(open_boxes, axis=1)
        hits[:, box] = open_boxes[levels, best] >= least
        free[levels, best] &= ~hits[:, box]
    return hits


def _area(hits: Array, found: Array, wanted: int) -> float:
    """Mean precision at 101 levels of recall.

    Args:
        hits: how many boxes are right up to each, `[boxes]`.
        found: how many there are up to each.
        wanted: true boxes.
    """
    if not len(found):
        return 0.0
    precision = hits / np.maximum(found, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / wanted, RECALLS - 1e-12, side="left")
    return float(np.mean(np.where(place < len(best), best[np.minimum(place, len(best) - 1)], 0.0)))
