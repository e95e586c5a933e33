"""How a picture becomes the input of an image model, derived from the data and said aloud.

The rule: what pixel values 0 and 255 become is stated by the user, or is what the data show, or is what the
quantized input means; where none of these tells, no steps are declared and a note says what to give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.contract.manifest import Step, Task, TensorSpec
from agent.transforms.quantization import is_quantized
from converters.job import DataFacts
from converters.metrics.detection import Detecting

CHANNELS = {1: "grayscale", 3: "rgb"}
NEARLY = 0.9
"""Data reach a round bound when they cover this part of it: the brightest pixel of a set is rarely missing."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Steps for pictures.

    Attributes:
        steps: preprocessing; empty where the model takes no pictures or nobody knows their scale.
        scale: what 0 and 255 become, or None.
        scale_from: where that comes from: `--input-scale`, `data`, `quantization` or an empty string.
        notes: what a person should know.
    """

    steps: tuple[Step, ...] = ()
    scale: tuple[float, float] | None = None
    scale_from: str = ""
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any] | None:
        """For recipe and report."""
        if self.scale is None:
            return None
        return {"low": self.scale[0], "high": self.scale[1], "from": self.scale_from}


def derive(
    inputs: tuple[TensorSpec, ...], data: tuple[DataFacts, ...], stated: tuple[float, ...] | None
) -> Pixels:
    """Steps from a decoded image to the model's input.

    Args:
        inputs: of the model.
        data: what was given of calibration and held-out data.
        stated: the user's word for what 0 and 255 become.
    """
    layout = _layout(inputs[0].shape) if len(inputs) == 1 else None
    if layout is None:
        return Pixels()
    scale, scale_from, note = _scale(inputs[0], data, stated)
    if scale is None:
        return Pixels(notes=(note,))
    channels, height, width = layout
    first = inputs[0].shape[1] == channels and inputs[0].shape[3] != channels
    factor = (scale[1] - scale[0]) / 255.0
    steps = (
        Step(CHANNELS[channels]),
        Step("resize", {"height": height, "width": width, "method": "area"}),
        Step("scale", {"factor": factor, "offset": scale[0]}),
        Step("layout", {"to": "NCHW" if first else "NHWC"}),
        Step("expand", {"axis": 0}),
    )
    return Pixels(steps=steps, scale=scale, scale_from=scale_from, notes=(note,))


def detecting_of(task: Task, steps: tuple[Step, ...], shape: tuple[int, ...]) -> Detecting | None:
    """How boxes are read out of the outputs of a model with an input of this shape; None where it is no detector."""
    if task is not Task.DETECTION:
        return None
    layout = _layout(shape)
    return Detecting(steps, columns=layout[2], rows=layout[1]) if layout else Detecting(steps)


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Channels, height and width of an image input, or None."""
    if len(shape) != 4:
        return None
    for channels, height, width in ((shape[3], shape[1], shape[2]), (shape[1], shape[2], shape[3])):
        if channels in CHANNELS and height > 1 and width > 1:
            return channels, height, width
    return None


def _scale(
    spec: TensorSpec, data: tuple[DataFacts, ...], stated: tuple[float, ...] | None
) -> tuple[tuple[float, float] | None, str, str]:
    """What 0 and 255 become, where that comes from, and a sentence about it."""
    if stated is not None:
        low, high = stated
        return (low, high), "--input-scale", f"pixels 0–255 become {low:g} to {high:g}, as --input-scale says"
    if data:
        low, high = min(facts.low for facts in data), max(facts.high for facts in data)
        if all(facts.dtype == "uint8" for facts in data):
            return (0.0, 255.0), "data", "pixels stay 0–255, as in the data"
        bounds = _bounds(low, high)
        if bounds:
            return bounds, "data", f"pixels 0–255 become {bounds[0]:g} to {bounds[1]:g}, as in the data"
        return (
            None,
            "",
            f"values of {low:g} to {high:g} are no picture's: give --input-scale if the model takes pictures",
        )
    if is_quantized(spec):
        limits, zero = np.iinfo(spec.dtype), spec.zero_point or 0
        low, high = (
            (bound - zero) * float(spec.scale or 1.0) for bound in (int(limits.min), int(limits.max))
        )
        return (
            (low, high),
            "quantization",
            f"pixels 0–255 become {low:.4g} to {high:.4g}, the range of the quantized input",
        )
    return (
        None,
        "",
        "nothing says how pictures are scaled for this model: give --input-scale LOW,HIGH to send it pictures",
    )


def _bounds(low: float, high: float) -> tuple[float, float] | None:
    """The round bounds that values keep to, or None where they are no picture's."""
    for least, most in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        reaches = low <= least + (1 - NEARLY) * (most - least) and high >= most - (1 - NEARLY) * (
            most - least
        )
        if least <= low and high <= most and reaches:
            return least, most
    if low == 0.0 < high:
        return 0.0, high
    return None


def differently_scaled(calibration: DataFacts | None, evaluation: DataFacts | None) -> str | None:
    """A sentence where calibration and held-out data can hardly be scaled the same way."""
    if calibration is None or evaluation is None:
        return None
    here, there = calibration.high - calibration.low, evaluation.high - evaluation.low
    if max(here, there) <= 3 * min(here, there):
        return None
    return (
        f"calibration values go from {calibration.low:g} to {calibration.high:g}, held-out ones from"
        f" {evaluation.low:g} to {evaluation.high:g}: are they scaled the same way?"
    )
