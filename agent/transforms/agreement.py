"""How close outputs are to those of the proof run, and how far they say what the float model says.

The rule: convert, publish and the board's trial call these same functions on the same golden set, so that what
was admitted is never refused for its answers. Something that is not finite agrees with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import Task, TensorSpec
from agent.contract.trial import PROOF_RELATIVE, PROOF_STEPS
from agent.transforms.quantization import dequantize, is_quantized

CONSTANT_RELATIVE = 0.05
"""Least spread between samples that answers are compared by, relative to their magnitude."""


def proof_within(
    outputs: Sequence[NDArray[Any]], proof: Sequence[NDArray[Any]], specs: Sequence[TensorSpec]
) -> float:
    """Part of the output values that are as close to the proof run's as engines of two architectures are.

    Args:
        outputs: one array `[N, ...]` an output tensor, engine dtype.
        proof: the proof run's, same order, shapes and dtypes.
        specs: of the output tensors.

    Returns:
        0 to 1. An output of another shape counts as wholly different.
    """
    close = total = 0
    for found, expected, spec in zip(outputs, proof, specs, strict=True):
        total += expected.size
        if found.shape == expected.shape:
            close += int(np.count_nonzero(_close(found, expected, spec)))
    return close / total if total else 1.0


def _close(found: NDArray[Any], expected: NDArray[Any], spec: TensorSpec) -> NDArray[np.bool_]:
    if not np.issubdtype(expected.dtype, np.floating):
        apart = np.abs(found.astype(np.int64) - expected.astype(np.int64))
        return np.asarray(apart <= (PROOF_STEPS if is_quantized(spec) else 0))
    found64, expected64 = found.astype(np.float64), expected.astype(np.float64)
    magnitude = np.abs(expected64)
    largest = magnitude.reshape(len(magnitude), -1).max(axis=1, initial=0.0)
    allowed = PROOF_RELATIVE * largest.reshape(-1, *[1] * (magnitude.ndim - 1))
    if spec.scale is not None:
        allowed = np.maximum(allowed, PROOF_STEPS * spec.scale * 1.001)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(found64 - expected64) <= allowed)


def agreement(
    outputs: Sequence[NDArray[Any]],
    float_outputs: Sequence[NDArray[Any]],
    specs: Sequence[TensorSpec],
    task: Task,
) -> float:
    """How far an artifact says what its float original says.

    For a classifier with scores of several classes: part of the samples whose first output has its largest score in the
    same class. Otherwise: mean over outputs; of quantities, anomaly scores and whatever has one value a sample, as one
    number has no direction, the part of the variance between samples that is the same; of the rest the mean over
    samples of the cosine similarity. Negative counts as 0.

    Args:
        outputs: one array `[N, ...]` an output tensor, engine dtype.
        float_outputs: the float original's, float32, same order and shapes.
        specs: of the output tensors.
        task: what the outputs mean.

    Returns:
        0 to 1; 0 where the shapes differ.
    """
    pairs = [
        (dequantize(found, spec).astype(np.float64), expected.astype(np.float64))
        for found, expected, spec in zip(outputs, float_outputs, specs, strict=True)
    ]
    if not pairs or any(found.shape != expected.shape or not len(found) for found, expected in pairs):
        return 0.0
    if task is Task.CLASSIFICATION and not _is_scalar(pairs[0][1]):
        return float(np.mean(_same_class(*pairs[0])))
    if task is Task.CLASSIFICATION:
        return _same_variance(*pairs[0], specs[0])
    quantities = task in (Task.REGRESSION, Task.ANOMALY)
    return float(np.mean([
        _same_variance(found, expected, spec)
        if quantities or _is_scalar(expected)
        else np.mean(_cosine(found, expected))
        for (found, expected), spec in zip(pairs, specs, strict=True)
    ]))  # fmt: skip


def classes(scores: NDArray[Any]) -> NDArray[np.int64]:
    """The class with the largest score in the last axis; the lowest of those that tie. NaN is never the largest."""
    finite = np.where(np.isnan(scores), -np.inf, scores)
    return np.asarray(np.argmax(finite, axis=-1), dtype=np.int64)


def _same_class(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    usable = np.all(np.isfinite(found), axis=-1)
    same = (classes(found) == classes(expected)) & usable
    return np.asarray(same.reshape(len(same), -1).all(axis=1))


def _is_scalar(array: NDArray[Any]) -> bool:
    return array.size == len(array)


def _same_variance(found: NDArray[Any], expected: NDArray[Any], spec: TensorSpec) -> float:
    """The coefficient of determination, 0 to 1.

    Where values hardly differ between samples, `CONSTANT_RELATIVE` of their magnitude, or two steps of a quantized
    output, stand for the spread.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        off = float(np.sum((found - expected) ** 2))
        spread = float(np.sum((expected - expected.mean(axis=0)) ** 2))
        near = np.maximum(CONSTANT_RELATIVE * np.abs(expected), PROOF_STEPS * (spec.scale or 0.0))
        spread = max(spread, float(np.sum(near**2)))
    if not np.isfinite(off) or not np.isfinite(spread):
        return 0.0
    if off == 0.0:
        return 1.0
    return max(0.0, 1.0 - off / spread) if spread > 0.0 else 0.0


def _cosine(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    left, right = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosine = np.sum(left * right, axis=1) / norms
    both_zero = ~left.any(axis=1) & ~right.any(axis=1)
    return np.clip(np.where(both_zero, 1.0, np.nan_to_num(cosine, nan=0.0)), 0.0, 1.0)
