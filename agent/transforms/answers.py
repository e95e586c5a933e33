"""What a model's outputs say, by the task of its release: the document that clients get.

The rule: plain values, in pixels of the picture that was sent, and the same here and on the board. `answers` is a list
for every task:

| task | `answers` |
|---|---|
| classification | `index`, `label`, `score` of the best classes, best first |
| detection | `index`, `label`, `score`, `box` (left, top, right, bottom), best first |
| segmentation | `index`, `label`, `area` (part of the map) of each class, largest first; beside it `mask` |
| embedding | one: `vector` |
| regression, tensor | for each output `name`, `shape`, `values` |
| anomaly | one: `score`, `threshold`, `verdict` (`normal` or `anomalous`) |

`mask` holds `png`, the class map as a grey PNG in base64 whose values are classes, and `box`, what it covers of the
picture.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid
from agent.contract.manifest import Step, Task
from agent.transforms.boxes import Boxes, best_boxes, read_boxes
from agent.transforms.frame import Frame
from agent.transforms.images import grey_png
from agent.transforms.pipeline import apply, check_steps

Array = NDArray[Any]

CLASSES = 256
"""Classes that a grey PNG can tell apart."""
_ANSWERING: Mapping[Task, tuple[str, ...]] = {
    Task.CLASSIFICATION: ("top-k",),
    Task.DETECTION: ("boxes", "nms"),
    Task.ANOMALY: ("threshold",),
}
"""Steps that are read here, not carried out one after the other."""
_NEEDED: Mapping[Task, tuple[str, ...]] = {Task.DETECTION: ("boxes", "nms"), Task.ANOMALY: ("threshold",)}
_OWN: Mapping[str, Task] = {
    "top-k": Task.CLASSIFICATION,
    "boxes": Task.DETECTION,
    "nms": Task.DETECTION,
}
"""Steps that mean something for one task alone."""


def check_postprocessing(task: Task, steps: Sequence[Step]) -> None:
    """Refuse steps that do not lead to an answer of the task.

    Raises:
        DocumentInvalid: so.
    """
    check_steps(steps)
    document, present = f"a pipeline for {task.value}", {step.op for step in steps}
    for op in _NEEDED.get(task, ()):
        if op not in present:
            raise DocumentInvalid(document=document, reason=f"it needs the step `{op}`")
    for op in sorted(present):
        if _OWN.get(op, task) is not task:
            raise DocumentInvalid(document=document, reason=f"the step `{op}` is for {_OWN[op].value}")


def answer(
    task: Task,
    steps: Sequence[Step],
    outputs: Mapping[str, Array],
    *,
    labels: Sequence[str] = (),
    frame: Frame | None = None,
) -> dict[str, Any]:
    """What the outputs of one sample say.

    Args:
        task: of the release.
        steps: its postprocessing, checked.
        outputs: name to real numbers with a batch axis of 1, in the manifest's order.
        labels: one a class, or none.
        frame: of the picture; None where the sample was no picture, and boxes stay as the model gives them.

    Raises:
        DocumentInvalid, RequestInvalid: the outputs are not as the steps want them.
    """
    read = _ANSWERING.get(task, ())
    carried = [step for step in steps if step.op not in read]
    told = {step.op: step.parameters for step in steps if step.op in read}
    first = next(iter(outputs.values()))[0]
    if task is Task.CLASSIFICATION:
        count = int(told["top-k"]["k"]) if "top-k" in told else 1
        return {"answers": _classes(apply(carried, first).ravel(), count, labels)}
    if task is Task.DETECTION:
        columns, rows = (frame.columns, frame.rows) if frame else (1, 1)
        boxes = detected(steps, list(outputs.values()), columns=columns, rows=rows)
        return {"answers": _detections(boxes, labels, frame)}
    if task is Task.SEGMENTATION:
        return _segments(apply(carried, first), labels, frame)
    if task is Task.EMBEDDING:
        return {"answers": [{"vector": apply(carried, first).ravel()}]}
    if task is Task.ANOMALY:
        return {"answers": [_anomaly(apply(carried, first), float(told["threshold"]["at"]))]}
    values = {name: apply(carried, output[0]) for name, output in outputs.items()}
    return {"answers": [{"name": n, "shape": list(v.shape), "values": v.ravel()} for n, v in values.items()]}


def detected(steps: Sequence[Step], outputs: Sequence[Array], *, columns: int, rows: int) -> Boxes:
    """The boxes that a detector's postprocessing leaves, best first.

    Args:
        steps: postprocessing, checked; with `boxes` and `nms`.
        outputs: of one sample, real numbers with a batch axis of 1.
        columns: of the model's input; 1 leaves boxes in fractions of it as they are.
        rows: likewise.

    Raises:
        DocumentInvalid: the outputs are not as the steps want them.
    """
    told = {step.op: step.parameters for step in steps}
    carried = [step for step in steps if step.op not in _ANSWERING[Task.DETECTION]]
    found = [apply(carried, output) for output in outputs]
    boxes, nms = read_boxes(found, told["boxes"], columns=columns, rows=rows), told["nms"]
    return best_boxes(boxes, score=nms["score"], overlap=nms["overlap"], limit=nms["limit"])


def _classes(scores: Array, count: int, labels: Sequence[str]) -> list[dict[str, Any]]:
    best = np.argsort(-scores, kind="stable")[:count]
    return [{**_named(int(place), labels), "score": float(scores[place])} for place in best]


def _named(index: int, labels: Sequence[str]) -> dict[str, Any]:
    return {"index": index, "label": labels[index] if 0 <= index < len(labels) else str(index)}


def _detections(boxes: Boxes, labels: Sequence[str], frame: Frame | None) -> list[dict[str, Any]]:
    corners = frame.boxes(boxes.corners) if frame else boxes.corners
    return [
        {**_named(index, labels), "score": score, "box": corner}
        for index, score, corner in zip(
            boxes.classes.tolist(), boxes.scores.tolist(), corners.tolist(), strict=True
        )
    ]


def _segments(found: Array, labels: Sequence[str], frame: Frame | None) -> dict[str, Any]:
    classes = found.reshape([length for length in found.shape if length != 1] or [1])
    if classes.ndim != 2:
        raise DocumentInvalid(
            document="a pipeline for segmentation", reason=f"it ends with the shape {list(found.shape)}"
        )
    if classes.size and not 0 <= classes.min() <= classes.max() < CLASSES:
        raise DocumentInvalid(
            document="a pipeline for segmentation", reason=f"a class is not within 0 to {CLASSES - 1}"
        )
    classes = classes.astype(np.uint8)
    rows, columns = classes.shape
    box = [0.0, 0.0, float(columns), float(rows)]
    if frame:
        classes = classes[frame.seen(columns, rows)]
        box = frame.boxes(np.array([[0, 0, frame.columns, frame.rows]]))[0].tolist()
    areas = np.bincount(classes.ravel()) / classes.size
    order = [int(place) for place in np.argsort(-areas, kind="stable") if areas[place] > 0]
    return {
        "answers": [{**_named(place, labels), "area": float(areas[place])} for place in order],
        "mask": {"png": base64.b64encode(grey_png(classes)).decode(), "box": box},
    }


def _anomaly(found: Array, at: float) -> dict[str, Any]:
    if found.size != 1:
        raise DocumentInvalid(
            document="a pipeline for anomaly", reason=f"{found.size} values are no score: add `reduce`"
        )
    score = float(found.ravel()[0])
    return {"score": score, "threshold": at, "verdict": "normal" if score <= at else "anomalous"}
