"""Pre- and postprocessing as data: a list of steps, each a name and its parameters.

The rule: a step that this version does not know, or that lacks a parameter, is an error before anything is
computed; there are no defaults that two versions could disagree about. Preprocessing begins with a decoded input
(an image is uint8 `[H, W, C]`, a sound float32 `[samples]`) and ends with real numbers in the shape of the artifact's
input; `quantization.quantize` then makes what the tensor stores. Postprocessing ends with what
`agent.transforms.answers` says.

| step | parameters | does |
|---|---|---|
| `grayscale` | | `[H, W, 1, 3 or 4]` to `[H, W, 1]` by the luma of ITU-R BT.601; alpha is dropped |
| `rgb` | | `[H, W, 1, 3 or 4]` to `[H, W, 3]` |
| `bgr` | | as `rgb`, blue first |
| `crop` | `height`, `width`, `part` | the middle, in the proportion height to width: `part` of the largest |
| `resize` | `height`, `width`, `method` | see `agent.transforms.resize` for the methods; proportions are not kept |
| `letterbox` | `height`, `width`, `method`, `fill` | proportions are kept, on a ground of the value `fill` |
| `scale` | `factor`, `offset` | value * factor + offset, float32 |
| `normalize` | `mean`, `deviation` | (value - mean) / deviation, float32; one of each for a channel, the last axis |
| `layout` | `to`: `NHWC`, `NCHW` | moves the channels of an `[H, W, C]` array; `NHWC` leaves it |
| `dtype` | `to` | casts |
| `expand` | `axis` | adds an axis of length 1, the batch |
| `softmax` | | scores to probabilities, last axis |
| `sigmoid` | | scores to probabilities, each for itself |
| `l2-normalize` | | to length 1; zeros stay |
| `reduce` | `by`: `max`, `mean` | all values to one |
| `argmax` | `axis` | the number of the largest, along that axis |
| `top-k` | `k` | the k best classes |
| `boxes` | `boxes`, `scores`, `classes`, `format`, `order`, `unit`, `objectness` | see below |
| `nms` | `score`, `overlap`, `limit` | see `agent.transforms.boxes.best_boxes` |
| `threshold` | `at` | 1 above it, 0 up to it; of an anomaly's score: the verdict |

`boxes` reads a detector's outputs. `boxes`, `scores` and `classes` are the numbers of outputs, 0 the first. Where
`scores` is the same output as `boxes`, scores follow the four values of each box. `classes` is -1 where there is one
score a class. `format` is `xyxy`, `yxyx`, `xywh` or `cxcywh`, `unit` `pixels` of the input or `fraction` of it, `order`
`boxes-first` (`[N, values]`) or `values-first`. `objectness` true: the first score tells whether there is anything, and
counts for each class.

The steps of sounds, `waveform`, `spectrogram`, `mel`, `log` and `dct`, are those of `agent.transforms.audio`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid, RequestInvalid
from agent.contract.manifest import Step
from agent.transforms import audio
from agent.transforms.boxes import FORMATS, ORDERS, UNITS
from agent.transforms.frame import Frame
from agent.transforms.images import Picture
from agent.transforms.resize import METHODS, resize

Array = NDArray[Any]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue; ITU-R BT.601."""


@dataclass(frozen=True)
class Prepared:
    """A picture as a model takes it.

    Attributes:
        array: real numbers. frame: where it lies in the picture.
    """

    array: Array
    frame: Frame


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
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise DocumentInvalid(document=f"step `{step.op}`", reason=f"`{name}` is {value!r}")
        for name, allowed in _CHOICES.get(step.op, {}).items():
            if step.parameters[name] not in allowed:
                known = ", ".join(sorted(allowed))
                raise DocumentInvalid(document=f"step `{step.op}`", reason=f"`{name}` must be one of {known}")
        if any(step.parameters.get(name, 1) < 1 for name in _SIZES):
            raise DocumentInvalid(document=f"step `{step.op}`", reason="a size must be 1 or more")
        _check_numbers(step)


def takes_sound(steps: Sequence[Step]) -> bool:
    """Whether the decoded input is a sound, not an image."""
    return bool(steps) and steps[0].op == "waveform"


def _check_numbers(step: Step) -> None:
    audio.check(step)
    if step.op == "crop" and not 0 < step.parameters["part"] <= 1:
        raise DocumentInvalid(document="step `crop`", reason="`part` must be above 0, and 1 at most")
    if step.op == "normalize":
        mean, deviation = step.parameters["mean"], step.parameters["deviation"]
        numbers = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in (*mean, *deviation))
        if not numbers or not mean or len(mean) != len(deviation) or 0 in deviation:
            reason = (
                "`mean` and `deviation` must hold as many numbers as there are channels, no deviation of 0"
            )
            raise DocumentInvalid(document="step `normalize`", reason=reason)


def apply(steps: Sequence[Step], array: Array) -> Array:
    """Carry out the steps on one decoded input.

    Raises:
        DocumentInvalid: see `check_steps`.
        RequestInvalid: the array has a shape that a step can't take.
    """
    check_steps(steps)
    for step in steps:
        if step.op in _PLACING:
            array = _PLACING[step.op](array, step.parameters, _whole(array))[0]
        else:
            array = _OPERATIONS[step.op](array, step.parameters)
    return array


def prepare(steps: Sequence[Step], picture: Picture) -> Prepared:
    """Carry out preprocessing on a picture, and keep where its pixels went.

    Args:
        steps: checked.
        picture: decoded, with at least the pixels that `wanted_side` says.
    """
    array: Array = picture.pixels
    rows, columns = array.shape[:2]
    frame = Frame(picture.width, picture.height, picture.width, picture.height).resized(columns, rows)
    for step in steps:
        if step.op in _PLACING:
            array, frame = _PLACING[step.op](array, step.parameters, frame)
        else:
            array = _OPERATIONS[step.op](array, step.parameters)
    return Prepared(np.ascontiguousarray(array), frame)


def wanted_side(steps: Sequence[Step]) -> int:
    """Pixels that the longer side of a picture should have before these steps; 0: all that it has."""
    part = 1.0
    for step in steps:
        if step.op == "crop":
            part *= step.parameters["part"]
        elif step.op in ("resize", "letterbox"):
            return int(np.ceil(max(step.parameters["height"], step.parameters["width"]) / part))
    return 0


def _whole(array: Array) -> Frame:
    _channels(array)
    height, width = array.shape[:2]
    return Frame(width, height, width, height)


def _crop(array: Array, parameters: Mapping[str, Any], frame: Frame) -> tuple[Array, Frame]:
    _channels(array)
    height, width = array.shape[:2]
    # The proportion is that of the whole picture's pixels, which a reduced decoding does not keep to the last one
    scale = min(height * frame.down / parameters["height"], width * frame.across / parameters["width"])
    scale *= parameters["part"]
    rows = min(max(round(parameters["height"] * scale / frame.down), 1), height)
    columns = min(max(round(parameters["width"] * scale / frame.across), 1), width)
    top, left = (height - rows) // 2, (width - columns) // 2
    return array[top : top + rows, left : left + columns], frame.cut(left, top, columns, rows)


def _resize(array: Array, parameters: Mapping[str, Any], frame: Frame) -> tuple[Array, Frame]:
    _channels(array)
    height, width = int(parameters["height"]), int(parameters["width"])
    return resize(array, height, width, str(parameters["method"])), frame.resized(width, height)


def _letterbox(array: Array, parameters: Mapping[str, Any], frame: Frame) -> tuple[Array, Frame]:
    _channels(array)
    height, width = int(parameters["height"]), int(parameters["width"])
    tall, wide = array.shape[0] * frame.down, array.shape[1] * frame.across
    scale = min(height / tall, width / wide)
    rows, columns = min(max(round(tall * scale), 1), height), min(max(round(wide * scale), 1), width)
    inner = resize(array, rows, columns, str(parameters["method"]))
    top, left = (height - rows) // 2, (width - columns) // 2
    ground = np.full((height, width, array.shape[2]), parameters["fill"], dtype=np.float32)
    ground[top : top + rows, left : left + columns] = inner
    return ground, frame.resized(columns, rows).cut(-left, -top, width, height)


def _grayscale(array: Array, _: Mapping[str, Any]) -> Array:
    if _channels(array) == 1:
        return array
    gray = array[..., :3].astype(np.float32) @ LUMA
    return gray[..., np.newaxis]


def _rgb(array: Array, _: Mapping[str, Any]) -> Array:
    return np.repeat(array, 3, axis=2) if _channels(array) == 1 else array[..., :3]


def _scale(array: Array, parameters: Mapping[str, Any]) -> Array:
    scaled = array.astype(np.float32) * np.float32(parameters["factor"]) + np.float32(parameters["offset"])
    return np.asarray(scaled, dtype=np.float32)


def _normalize(array: Array, parameters: Mapping[str, Any]) -> Array:
    mean, deviation = (np.asarray(parameters[name], np.float32) for name in ("mean", "deviation"))
    if array.shape[-1:] != mean.shape:
        raise RequestInvalid(
            reason=f"`normalize` has {len(mean)} numbers, the last axis of {list(array.shape)} has others"
        )
    return np.asarray((array.astype(np.float32) - mean) / deviation, dtype=np.float32)


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


def _sigmoid(array: Array, _: Mapping[str, Any]) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-array.astype(np.float32))), dtype=np.float32)


def _l2_normalize(array: Array, _: Mapping[str, Any]) -> Array:
    wide = array.astype(np.float64)
    length = np.linalg.norm(wide)
    return np.asarray(wide / length if length > 0 else wide, dtype=np.float32)


def _reduce(array: Array, parameters: Mapping[str, Any]) -> Array:
    return np.asarray(np.max(array) if parameters["by"] == "max" else np.mean(array, dtype=np.float64))


def _argmax(array: Array, parameters: Mapping[str, Any]) -> Array:
    axis = int(parameters["axis"])
    if not -array.ndim <= axis < array.ndim:
        raise RequestInvalid(reason=f"`argmax` is along axis {axis}, the output has {array.ndim}")
    return np.asarray(np.argmax(array, axis=axis))


def _channels(array: Array) -> int:
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise RequestInvalid(reason=f"an image has the shape [H, W, 1, 3 or 4], found {list(array.shape)}")
    return int(array.shape[2])


_PLACING: dict[str, Callable[[Array, Mapping[str, Any], Frame], tuple[Array, Frame]]] = {
    "crop": _crop,
    "resize": _resize,
    "letterbox": _letterbox,
}
"""Steps that move or scale pixels."""
_OPERATIONS: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "grayscale": _grayscale,
    "rgb": _rgb,
    "bgr": lambda array, _: _rgb(array, _)[..., ::-1],
    "scale": _scale,
    "normalize": _normalize,
    "layout": _layout,
    "dtype": _dtype,
    "expand": _expand,
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "l2-normalize": _l2_normalize,
    "reduce": _reduce,
    "argmax": _argmax,
    "threshold": lambda array, parameters: np.asarray(array > parameters["at"], dtype=np.int64),
    **audio.OPERATIONS,
}
_NUMBER = (int, float)
_HEIGHT_WIDTH: dict[str, tuple[type, ...]] = {"height": (int,), "width": (int,)}
_PARAMETERS: dict[str, dict[str, tuple[type, ...]]] = {
    "grayscale": {},
    "rgb": {},
    "bgr": {},
    "crop": {**_HEIGHT_WIDTH, "part": _NUMBER},
    "resize": {**_HEIGHT_WIDTH, "method": (str,)},
    "letterbox": {**_HEIGHT_WIDTH, "method": (str,), "fill": _NUMBER},
    "scale": {"factor": _NUMBER, "offset": _NUMBER},
    "normalize": {"mean": (list, tuple), "deviation": (list, tuple)},
    "layout": {"to": (str,)},
    "dtype": {"to": (str,)},
    "expand": {"axis": (int,)},
    "softmax": {},
    "sigmoid": {},
    "l2-normalize": {},
    "reduce": {"by": (str,)},
    "argmax": {"axis": (int,)},
    "top-k": {"k": (int,)},
    "boxes": {
        **{"boxes": (int,), "scores": (int,), "classes": (int,)},
        **{"format": (str,), "order": (str,), "unit": (str,), "objectness": (bool,)},
    },
    "nms": {"score": _NUMBER, "overlap": _NUMBER, "limit": (int,)},
    "threshold": {"at": _NUMBER},
    **audio.PARAMETERS,
}
_CHOICES: dict[str, dict[str, frozenset[str]]] = {
    "resize": {"method": METHODS},
    "letterbox": {"method": METHODS},
    "layout": {"to": frozenset({"NHWC", "NCHW"})},
    "dtype": {"to": frozenset({"float32", "float16", "uint8", "int8", "int16", "int32", "int64"})},
    "reduce": {"by": frozenset({"max", "mean"})},
    "boxes": {"format": FORMATS, "order": ORDERS, "unit": UNITS},
    **audio.CHOICES,
}
_SIZES = ("height", "width", "k", "limit", *audio.SIZES)
