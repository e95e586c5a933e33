"""The samples that the original and every artifact answer.

The rule: held-out data where there are any, else some of the calibration data, else made-up numbers that are called
`sanity` and say nothing about accuracy. The golden set is taken from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import TensorSpec
from agent.transforms.quantization import is_quantized, quantize
from converters.calibration.data import Data, evenly
from converters.job import GOLDEN_SAMPLES, SANITY_SEED, RunOrigin
from converters.models import Model

OPEN_AXIS = 8
"""Length that an open axis behind the batch gets in made-up inputs."""


@dataclass(frozen=True, kw_only=True)
class RunSet:
    """Samples in memory.

    Attributes:
        inputs: one array `[N, ...]` an input tensor; as given, or of the tensor's own dtype.
        y: see `converters.calibration.data.Data`.
        origin: where they come from.
    """

    inputs: tuple[NDArray[Any], ...]
    y: NDArray[Any] | None
    origin: RunOrigin

    @property
    def samples(self) -> int:
        """N."""
        return len(self.inputs[0])

    def stored(self, specs: Sequence[TensorSpec]) -> list[NDArray[Any]]:
        """The inputs as an artifact's tensors store them."""
        return [store(array, spec) for array, spec in zip(self.inputs, specs, strict=True)]


def store(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """What the tensor stores for an input array; an array of its own dtype is what is stored already."""
    return array if array.dtype == np.dtype(spec.dtype) else quantize(array, spec)


def choose(model: Model, calibration: Data | None, evaluation: Data | None) -> RunSet:
    """The run set for a model and the data that were given."""
    if evaluation is not None:
        return RunSet(inputs=evaluation.inputs, y=evaluation.y, origin=RunOrigin.HELD_OUT)
    if calibration is not None:
        some = evenly(calibration.samples, GOLDEN_SAMPLES)
        return RunSet(
            inputs=tuple(array[some] for array in calibration.inputs), y=None, origin=RunOrigin.CALIBRATION
        )
    random = np.random.default_rng(SANITY_SEED)
    made_up = tuple(_made_up(spec, random) for spec in model.inputs)
    return RunSet(inputs=made_up, y=None, origin=RunOrigin.SANITY)


def _made_up(spec: TensorSpec, random: np.random.Generator) -> NDArray[Any]:
    """Numbers that a tensor may well meet: the range of its integers, or 0 to 1."""
    shape = (GOLDEN_SAMPLES, *(OPEN_AXIS if axis < 0 else axis for axis in spec.shape[1:]))
    kind = np.dtype(spec.dtype)
    if is_quantized(spec):
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    if kind.kind in "iu":
        high = 255 if kind == np.uint8 else 1
        return random.integers(0, high, shape, dtype=kind, endpoint=True)
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(np.bool_)
    return random.random(shape, dtype=np.float32).astype(kind)
