"""Pre- and postprocessing as data: a list of steps, each a name and its parameters.

The rule: a step that this version does not know, or that lacks a parameter, is an error before anything is
computed; there are no defaults that two versions could disagree about. Preprocessing begins with a decoded input
(an image is uint8 `[H, W, C]`) and ends with real numbers in the shape of the artifact's input;
`quantization.quantize` then makes what the tensor stores.

| step | parameters | does |
|---|---|---|
| `grayscale` | | `[H, W, 1, 3 or 4]` to `[H, W, 1]` by the luma of ITU-R BT.601; alpha is dropped |
| `rgb` | | `[H, W, 1, 3 or 4]` to `[H, W, 3]` |
| `resize` | `height`, `width`, `method` | see `agent.transforms.resize` for the methods |
| `scale` | `factor`, `offset` | value * factor + offset, float32 |
| `layout` | `to`: `NHWC`, `NCHW` | moves the channels of an `[H, W, C]` array; `NHWC` leaves it |
| `dtype` | `to` | casts |
| `expand` | `axis` | adds an axis of length 1, the batch |
| `softmax` | | scores to probabilities, last axis |
| `top-k` | `k` | the k best classes; `answers` reads it |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid, RequestInvalid
from agent.contract.manifest import Step
from agent.transforms.resize import METHODS, resize

Array = NDArray[Any]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue; ITU-R BT.601."""


@dataclass(frozen=True)
class Answer:
    """One class of a classifier's answer.

    Attributes:
        index: the class's number.
        label: its name, or its number as text where there are no labels.
        score: as the model gives it, or a probability after `softmax`.
    """

    index: int
    label: str
    score: float


def check_steps(steps: Sequence[Step]) -> None:
    """Refuse steps that can't be carried out.

    Raises:
        DocumentInvalid: an unknown step or method, or a missing or wrong parameter.
    """
    for step in steps:
        if step.op not in _PARAMETERS:
            raise DocumentInvalid(document="a pipeline", reason=f"`{step.op}` is no step that edge knows")
        for name, kinds in _PARAMETERS[step.op].items():
            value = step.parameters.get(name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise DocumentInvalid(document=f"step `{step.op}`", reason=f"`{name}` is {value!r}")
        allowed = _CHOICES.get(step.op)
        if allowed and step.parameters[allowed[0]] not in allowed[1]:
            known = ", ".join(sorted(allowed[1]))
            raise DocumentInvalid(
                document=f"step `{step.op}`", reason=f"`{allowed[0]}` must be one of {known}"
            )
        if any(step.parameters.get(name, 1) < 1 for name in ("height", "width", "k")):
            raise DocumentInvalid(document=f"step `{step.op}`", reason="a size must be 1 or more")


def apply(steps: Sequence[Step], array: Array) -> Array:
    """Carry out the steps on one decoded input.

    Raises:
        DocumentInvalid: see `check_steps`.
        RequestInvalid: the array has a shape that a step can't take.
    """
    check_steps(steps)
    for step in steps:
        array = _OPERATIONS[step.op](array, step.parameters)
    return array


def answers(steps: Sequence[Step], scores: Array, labels: Sequence[str] = ()) -> list[Answer]:
    """What a classifier says of one sample, best first.

    Args:
        steps: of the postprocessing, `top-k` the last.
        scores: real numbers `[classes]`.
        labels: one a class, or none.

    Returns:
        As many as `top-k` says; one where there is no such step.
    """
    array = apply([step for step in steps if step.op != "top-k"], scores)
    count = next((int(step.parameters["k"]) for step in steps if step.op == "top-k"), 1)
    best = np.argsort(-array, kind="stable")[:count]
    return [
        Answer(
            index=int(index),
            label=labels[index] if index < len(labels) else str(int(index)),
            score=float(array[index]),
        )
        for index in best
    ]


def _grayscale(array: Array, _: Mapping[str, Any]) -> Array:
    if _channels(array) == 1:
        return array
    gray = array[..., :3].astype(np.float32) @ LUMA
    return gray[..., np.newaxis]


def _rgb(array: Array, _: Mapping[str, Any]) -> Array:
    return np.repeat(array, 3, axis=2) if _channels(array) == 1 else array[..., :3]


def _resize(array: Array, parameters: Mapping[str, Any]) -> Array:
    _channels(array)
    return resize(array, int(parameters["height"]), int(parameters["width"]), str(parameters["method"]))


def _scale(array: Array, parameters: Mapping[str, Any]) -> Array:
    scaled = array.astype(np.float32) * np.float32(parameters["factor"]) + np.float32(parameters["offset"])
    return np.asarray(scaled, dtype=np.float32)


def _layout(array: Array, parameters: Mapping[str, Any]) -> Array:
    if array.ndim != 3:
        raise RequestInvalid(reason=f"an image has the shape [H, W, C], found {list(array.shape)}")
    return np.ascontiguousarray(np.moveaxis(array, 2, 0)) if parameters["to"] == "NCHW" else array


def _dtype(array: Array, parameters: Mapping[str, Any]) -> Array:
    return array.astype(parameters["to"])


def _expand(array: Array, parameters: Mapping[str, Any]) -> Array:
    return np.expand_dims(array, int(parameters["axis"]))


def _softmax(array: Array, _: Mapping[str, Any]) -> Array:
    raised = np.exp(array.astype(np.float32) - np.max(array, axis=-1, keepdims=True))
    return np.asarray(raised / np.sum(raised, axis=-1, keepdims=True), dtype=np.float32)


def _channels(array: Array) -> int:
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise RequestInvalid(reason=f"an image has the shape [H, W, 1, 3 or 4], found {list(array.shape)}")
    return int(array.shape[2])


_OPERATIONS: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "grayscale": _grayscale,
    "rgb": _rgb,
    "resize": _resize,
    "scale": _scale,
    "layout": _layout,
    "dtype": _dtype,
    "expand": _expand,
    "softmax": _softmax,
    "top-k": lambda array, _: array,
}
_PARAMETERS: dict[str, dict[str, tuple[type, ...]]] = {
    "grayscale": {},
    "rgb": {},
    "resize": {"height": (int,), "width": (int,), "method": (str,)},
    "scale": {"factor": (int, float), "offset": (int, float)},
    "layout": {"to": (str,)},
    "dtype": {"to": (str,)},
    "expand": {"axis": (int,)},
    "softmax": {},
    "top-k": {"k": (int,)},
}
_CHOICES: dict[str, tuple[str, frozenset[str]]] = {
    "resize": ("method", METHODS),
    "layout": ("to", frozenset({"NHWC", "NCHW"})),
    "dtype": ("to", frozenset({"float32", "float16", "uint8", "int8", "int16", "int32", "int64"})),
}
