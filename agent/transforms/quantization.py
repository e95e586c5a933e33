"""Real numbers to the integers that a quantized tensor stores, and back.

The rule: real = scale * (stored - zero_point), rounded half to even as engines do, clipped to the range of the
tensor's own dtype. A tensor without scale or of a float dtype is only cast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import TensorSpec


def is_quantized(spec: TensorSpec) -> bool:
    """Whether the tensor stores integers that stand for real numbers."""
    return spec.scale is not None and np.issubdtype(np.dtype(spec.dtype), np.integer)


def quantize(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Real numbers of any dtype and shape to what the tensor stores.

    Args:
        array: real numbers, as the model was trained on.
        spec: the tensor.

    Returns:
        Same shape, dtype of the tensor.
    """
    if not is_quantized(spec):
        return array.astype(spec.dtype, copy=False)
    limits = np.iinfo(spec.dtype)
    steps = array.astype(np.float32) / np.float32(spec.scale)
    np.rint(steps, out=steps)
    steps += np.float32(spec.zero_point or 0)
    clipped: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return clipped


def dequantize(array: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """What the tensor stores to real numbers, float32 of the same shape."""
    if not is_quantized(spec):
        return array.astype(np.float32, copy=False)
    steps = array.astype(np.float32) - np.float32(spec.zero_point or 0)
    return np.asarray(steps * np.float32(spec.scale or 1.0), dtype=np.float32)
