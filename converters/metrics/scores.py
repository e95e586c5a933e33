"""Metrics of classes, vectors and quantities.

The rule: a function that ends in `_each` says something of every sample, `[N]`, so that two models can be compared
sample by sample; the others need all of them at once. A value that is not finite is as wrong as can be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.transforms.agreement import classes

Array = NDArray[Any]
NOISELESS_DB = 200.0
"""Signal-to-noise ratio of answers that are the same: above what float32 can tell."""


def top_each(scores: Array, y: Array, k: int) -> NDArray[np.bool_]:
    """Which samples have their class `y [N]` among the `k` largest of their scores `[N, classes]`.

    Of scores that tie, the lowest class comes first.
    """
    finite = np.where(np.isnan(scores), -np.inf, scores)
    first = np.argsort(-finite, axis=-1, kind="stable")[:, :k]
    return np.asarray((first == y[:, None]).any(axis=1))


def agreement_each(scores: Array, other: Array) -> NDArray[np.bool_]:
    """Which samples have their largest score in the same class."""
    return np.asarray(classes(scores) == classes(other))


def cosine_each(found: Array, expected: Array) -> NDArray[np.float64]:
    """Cosine similarity of each sample's values with those expected, -1 to 1; two that are zero are the same."""
    left = np.nan_to_num(found.reshape(len(found), -1).astype(np.float64))
    right = expected.reshape(len(expected), -1).astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    both_zero = ~left.any(axis=1) & ~right.any(axis=1)
    cosine = np.divide(np.sum(left * right, axis=1), lengths, out=np.zeros(len(left)), where=lengths > 0)
    return np.where(both_zero, 1.0, cosine)


def squared_error_each(found: Array, y: Array) -> NDArray[np.float64]:
    """Mean squared error of each sample's values against `y`, `[N]`."""
    apart = found.reshape(len(found), -1).astype(np.float64) - y.reshape(len(y), -1)
    return np.asarray(np.mean(np.where(np.isfinite(apart), apart, np.inf) ** 2, axis=1))


def rmse(found: Array, y: Array) -> float:
    """Root of the mean squared error, in the unit of `y`; the lower the better."""
    return float(np.sqrt(np.mean(squared_error_each(found, y))))


def sqnr_db(found: Array, expected: Array) -> float:
    """Ratio of signal to quantization noise over all values, in dB; at most 200."""
    noise = float(np.sum((found.astype(np.float64) - expected) ** 2))
    return ratio_db(float(np.sum(expected.astype(np.float64) ** 2)), noise)


def ratio_db(signal: float, noise: float) -> float:
    """Of two sums of squares, in dB; at most 200."""
    if not np.isfinite(noise) or signal <= 0:
        return 0.0 if noise else NOISELESS_DB
    if noise == 0:
        return NOISELESS_DB
    return float(min(10 * np.log10(signal / noise), NOISELESS_DB))


def auc(scores: Array, y: Array) -> float:
    """Area under the ROC curve: how often a positive (`y` 1) scores above a negative (`y` 0); ties count half.

    Args:
        scores: `[N]` or `[N, 1]`, the higher the more positive; `[N, 2]` are the scores of both classes.
        y: 0 or 1, `[N]`.

    Returns:
        0 to 1; 0.5 where one of the classes has no sample.
    """
    flat = (
        scores[:, 1] - scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 2 else scores.reshape(len(y))
    )
    finite = np.where(np.isfinite(flat), flat, -np.inf)
    positives = int(np.sum(y == 1))
    negatives = len(y) - positives
    if not positives or not negatives:
        return 0.5
    _, place, count = np.unique(finite, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    above = float(np.sum(ranks[y == 1])) - positives * (positives + 1) / 2
    return above / (positives * negatives)
