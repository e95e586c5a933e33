"""Cross-layer equalization: each channel between two layers gets the range that suits the weights of both.

The rule: the model's function stays what it is. Dividing what makes a channel by a positive factor and multiplying
what reads it by the same cancels out through ReLU, which is why only such pairs are linked; ReLU6 and other limits do
not scale, so no pair is linked through one. The factor is the square root of the ratio of both ranges, repeated until
nothing moves (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.repair.graph import Array, Link

MOST_PASSES = 40
SETTLED = 1e-3
"""Largest change of a factor's logarithm at which a further pass would add nothing."""


def equalize(links: Sequence[Link]) -> int:
    """Equalize all pairs in place.

    Returns:
        How many channels were changed by more than a quarter, over all pairs.
    """
    factors = [np.ones(len(link.incoming)) for link in links]
    for _ in range(MOST_PASSES):
        moved = 0.0
        for link, total in zip(links, factors, strict=True):
            step = _factors(link)
            _apply(link, step)
            total *= step
            moved = max(moved, float(np.abs(np.log(step)).max()))
        if moved < SETTLED:
            break
    return sum(int(np.sum(np.abs(np.log(total)) > np.log(1.25))) for total in factors)


def _factors(link: Link) -> Array:
    """By what each channel is divided; 1 where one side has no weights for it."""
    made, read = _ranges(link.first.weight), _ranges(link.incoming)
    alive = (made > 0) & (read > 0)
    ratio = np.divide(made, read, out=np.ones_like(made), where=alive)
    return np.sqrt(ratio)


def _apply(link: Link, factors: Array) -> None:
    first = link.first
    first.weight[...] /= _along_first(factors, first.weight)
    if first.bias is not None:
        first.bias[...] /= factors
    link.incoming[...] *= _along_first(factors, link.incoming)


def _ranges(weight: Array) -> Array:
    return np.asarray(np.abs(weight).max(axis=tuple(range(1, weight.ndim))))


def _along_first(factors: Array, array: Array) -> Array:
    return factors.reshape(-1, *[1] * (array.ndim - 1))
