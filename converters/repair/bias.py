"""Bias correction: what rounding the weights adds to the mean of each output channel is taken out of its bias.

The rule: the error of the rounded weights times the mean of what they read is the mean error of the output, whatever
the data (M. Nagel et al., ICCV 2019, section 4.2); the means come from the calibration data. It is done before the
weights are rounded, because how they will be is known: symmetric, the largest magnitude on the last step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from converters.repair.graph import Array, Layer


def correct(layers: Sequence[Layer], means: Mapping[str, Array], *, steps: int, by_channel: bool) -> int:
    """Correct the biases of all layers in place.

    Args:
        layers: of a float model.
        means: of each input channel of each layer.
        steps: integers on each side of 0: 127 for int8, 64 for the 7 bits of int8 on x86-64.
        by_channel: weights get a scale an output channel, not one a tensor.

    Returns:
        How many layers were corrected.
    """
    corrected = 0
    for layer in layers:
        if layer.bias is None or layer.name not in means:
            continue
        error = rounded(layer.weight, steps=steps, by_channel=by_channel) - layer.weight
        layer.bias[...] -= _shift(layer, error, means[layer.name])
        corrected += 1
    return corrected


def rounded(weight: Array, *, steps: int, by_channel: bool) -> Array:
    """The weights as they will be read back from their integers."""
    axes = tuple(range(1, weight.ndim)) if by_channel else None
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0) / steps
    return np.asarray(np.round(weight / scale) * scale, dtype=np.float32)


def _shift(layer: Layer, error: Array, means: Array) -> Array:
    """Mean of what the error adds to each output channel, `[out]`."""
    by_input = error.reshape(*error.shape[:2], -1).sum(axis=2)
    group = np.arange(len(error)) // (len(error) // layer.groups)
    return np.asarray(np.sum(by_input * means.reshape(layer.groups, -1)[group], axis=1), dtype=np.float32)
