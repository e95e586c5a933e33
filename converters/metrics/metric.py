"""The metrics by name, and which one a model is judged by.

The rule: a metric that is judged needs labels. Without them the answers are compared with those of the float model, and
that is called agreement, never accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import OptionInvalid
from agent.contract.manifest import Task
from agent.transforms.boxes import Boxes
from converters.metrics import own
from converters.metrics.compare import MOST_DRAWS, Comparison, proportions, resampled
from converters.metrics.detection import OVERLAPS, Counted, Detecting, boxes_of, matched
from converters.metrics.scores import auc, rmse, top_each

Array = NDArray[Any]
OF_BOXES = ("map", "map50")
NAMES = ("top-1", "top-5", "auc", "rmse", *OF_BOXES)
SLOW_DRAWS = 200
"""Of a metric that takes long, or may: boxes, and functions of the user's own."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model answered.

    Attributes:
        outputs: real numbers `[N, ...]`, one array an output.
        boxes: of each sample, where the task is detection.
    """

    outputs: Sequence[Array]
    boxes: Sequence[Boxes] = ()


def answered(outputs: Sequence[Array], detecting: Detecting | None) -> Answers:
    """Outputs `[N, ...]` as metrics take them, with the boxes in them where they are a detector's."""
    return Answers(outputs=outputs, boxes=detecting.boxes(outputs) if detecting is not None else ())


def check(name: str, task: Task | None = None) -> None:
    """Raise OptionInvalid where there is no such metric, or it is not one of this task's.

    A function of the user's own is imported for that.
    """
    if own.is_own(name):
        own.load(name)
    elif name not in NAMES and _top(name) is None:
        raise OptionInvalid(
            option=f"--metric {name}",
            reason=f"it is none of {', '.join(NAMES)}, MODULE:FUNCTION, FILE.py:FUNCTION",
        )
    if name in OF_BOXES and task is not Task.DETECTION:
        reason = 'it is of boxes, which takes `task = "detection"` and its steps in --pipeline FILE'
        raise OptionInvalid(option=f"--metric {name}", reason=reason)


def default(task: Task, y: Array | None, classes: int | None) -> str | None:
    """The metric that a task is judged by; None without labels, or where none applies.

    Args:
        task: what the outputs mean.
        y: labels, or None.
        classes: scores of the first output where it is `[N, classes]`, or None; one tells two classes apart.
    """
    if y is None:
        return None
    if task is Task.CLASSIFICATION:
        return "top-1"
    if task is Task.TENSOR and classes == 1:
        return "auc"
    return {Task.REGRESSION: "rmse", Task.ANOMALY: "auc", Task.DETECTION: "map"}.get(task)


def compare(name: str, answers: Answers, floats: Answers, y: Array) -> Comparison:
    """An artifact's answers against the original's, by a metric.

    Args:
        name: of the metric.
        answers: of the artifact.
        floats: of the original, to the same samples.
        y: labels of these: classes `[N]`, quantities `[N, ...]`, or boxes `[N, most boxes, 5]`.

    Raises:
        OptionInvalid: the metric does not exist, does not apply, or is a function that fails.
    """
    _check_applies(name, answers, y)
    count = _top(name)
    if count is not None:
        right, float_right = (top_each(found.outputs[0], y, count) for found in (answers, floats))
        return proportions(name, right, float_right)
    if name in OF_BOXES:
        return _precision(name, answers, floats, y)
    value, higher, relative, draws = _measure(name, y)
    return resampled(
        name,
        len(y),
        lambda indices: value(answers, indices),
        lambda indices: value(floats, indices),
        higher=higher,
        relative=relative,
        draws=draws,
    )


def _check_applies(name: str, answers: Answers, y: Array) -> None:
    """Raise OptionInvalid where a metric of ours is of other outputs or labels."""
    each = answers.outputs[0].size // len(y) if answers.outputs else 0
    takes = None
    if name == "auc" and not (each in (1, 2) and y.ndim == 1 and set(np.unique(y)) <= {0, 1}):
        takes = "one score, or one of each of two classes, and labels of 0 and 1"
    elif name == "rmse" and each != y.size // len(y):
        takes = "as many outputs as labels"
    elif name in OF_BOXES and not (y.ndim == 3 and y.shape[2] == 5 and answers.boxes):
        takes = "boxes, and true boxes as labels"
    elif name in OF_BOXES and not (y[..., 0] >= 0).any():
        takes = "at least one true box"
    elif _top(name) is not None and (each < 2 or y.ndim != 1 or y.dtype.kind != "i"):
        takes = "one score a class, and classes as labels"
    if takes is not None:
        reason = f"it takes {takes}; here are {each} values of the first output and labels {list(y.shape)}"
        raise OptionInvalid(option=f"--metric {name}", reason=reason)


def _top(name: str) -> int | None:
    """The k of `top-k`."""
    first, _, count = name.partition("-")
    return int(count) if first == "top" and count.isdigit() and int(count) > 0 else None


def _counted(answers: Answers, y: Array, overlaps: Sequence[float]) -> Counted:
    pairs = zip(answers.boxes, boxes_of(y), strict=True)
    return Counted([matched(found, true, overlaps) for found, true in pairs])


def _precision(name: str, answers: Answers, floats: Answers, y: Array) -> Comparison:
    overlaps = OVERLAPS if name == "map" else (0.5,)
    found, original = (_counted(one, y, overlaps) for one in (answers, floats))
    if not original.mean_average_precision():
        reason = (
            "the model itself finds none of the true boxes: check the labels, and format, order and unit of the step"
            " `boxes`"
        )
        raise OptionInvalid(option=f"--metric {name}", reason=reason)
    return resampled(
        name, len(y), found.mean_average_precision, original.mean_average_precision, draws=SLOW_DRAWS
    )


Measured = Callable[[Answers, NDArray[np.int64]], float]


def _measure(name: str, y: Array) -> tuple[Measured, bool, bool, int]:
    """The function of answers and indices; whether more is better; whether it has a unit; draws of its bootstrap."""
    if name == "rmse":
        return lambda found, at: rmse(found.outputs[0][at], y[at]), False, True, MOST_DRAWS
    if name == "auc":
        return lambda found, at: auc(found.outputs[0][at], y[at]), True, False, MOST_DRAWS
    function = own.load(name)
    return (
        lambda found, at: own.value(name, function, [array[at] for array in found.outputs], y[at]),
        True, True, SLOW_DRAWS,
    )  # fmt: skip
