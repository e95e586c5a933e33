"""From the answers of original and artifact to a verdict.

The rule: with labels, the paired difference of accuracy is judged by its whole interval; the agreement on the golden
set is judged always, by the number that the board will use. Without labels nothing is ever called accuracy. What
does not run is worse than what is outside, and that is worse than what can't be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import AccuracyOutside, AccuracyUndecided, AgreementBelowFloor, EdgeError
from agent.contract.manifest import Task, TensorSpec
from agent.contract.trial import agreement_floor
from agent.transforms.agreement import agreement, classes
from agent.transforms.quantization import dequantize
from converters.calibration.data import evenly
from converters.job import GOLDEN_SAMPLES, RunOrigin
from converters.metrics.compare import Comparison
from converters.metrics.detection import Detecting
from converters.metrics.metric import answered, compare, default
from converters.models import scores
from converters.statistics import OUTSIDE, UNDECIDED, WITHIN
from edge.conversion.request import Drop

Arrays = Sequence[NDArray[Any]]
SANITY_FLOOR, SANITY_VALUE_FLOOR = 0.99, 0.9
"""Least mean cosine similarity of a float conversion with its original on made-up numbers: it shows lost weights.
The second where an output has one value a sample: between such numbers it may vary so little that rounding shows."""
NOT_JUDGED = "not-judged"
MOST_CONFUSED = 100
"""Classes of a confusion matrix that stands in a report."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the answers say.

    Attributes:
        verdict: `within`, `outside`, `undecided` or `not-judged`.
        error: why the artifact is not admitted, or None.
        drop: with labels.
        agreement, floor: on the golden set; None for a sanity set.
        golden: indices of the golden samples in the run set.
        confusion: samples by true class and by the artifact's, `[true][answered]`; None without labels.
    """

    verdict: str
    error: EdgeError | None
    drop: Drop | None
    agreement: float | None
    floor: float | None
    golden: NDArray[np.int64]
    confusion: list[list[int]] | None = None


def judge(
    *,
    profile: str,
    outputs: Arrays,
    float_outputs: Arrays,
    y: NDArray[np.int64] | None,
    specs: Sequence[TensorSpec],
    task: Task,
    origin: RunOrigin,
    max_drop_points: float,
    same_file: bool,
    metric: str | None = None,
    detecting: Detecting | None = None,
) -> Judgement:
    """Judge an artifact's answers on the run set.

    Args:
        profile: for the sentence of an error.
        outputs: the artifact's, engine dtype.
        float_outputs: the original's, float32.
        y: labels, see `converters.calibration.data.Data`; or None.
        specs: of the artifact's outputs.
        task: what the outputs mean.
        origin: where the run set comes from.
        max_drop_points: the budget in percentage points.
        same_file: the artifact is the original, untouched.
        metric: by which it is judged where there are labels; None takes the task's.
        detecting: how boxes are read, where the outputs are a detector's.

    Raises:
        OptionInvalid: the metric does not apply to these outputs and labels.
        DocumentInvalid: the outputs are not as a detector's steps want them.
    """
    golden = evenly(len(outputs[0]), GOLDEN_SAMPLES)
    part, floats = [array[golden] for array in outputs], [array[golden] for array in float_outputs]
    if origin is RunOrigin.SANITY:
        agrees = agreement(part, floats, specs, Task.TENSOR)
        one_value = any(array.size == len(array) for array in floats)
        error = _below(profile, agrees, SANITY_VALUE_FLOOR if one_value else SANITY_FLOOR)
        verdict = OUTSIDE if error else NOT_JUDGED
        return Judgement(verdict=verdict, error=error, drop=None, agreement=None, floor=None, golden=golden)
    agrees, floor = agreement(part, floats, specs, task), agreement_floor(max_drop_points, len(golden))
    drop = counts = None
    if y is not None and task is Task.CLASSIFICATION and outputs[0].shape[-1] > 1:
        counts = _confusion(y, classes(dequantize(outputs[0], specs[0])), outputs[0].shape[-1])
    name = metric or default(task, y, scores(specs))
    if y is not None and name is not None:
        real = [dequantize(array, spec) for array, spec in zip(outputs, specs, strict=True)]
        found, original = answered(real, detecting), answered(float_outputs, detecting)
        drop = _drop(compare(name, found, original, y), max_drop_points, same_file=same_file)
    error = _drop_error(profile, drop, max_drop_points, OUTSIDE)
    error = error or _below(profile, agrees, floor)
    error = error or _drop_error(profile, drop, max_drop_points, UNDECIDED)
    verdict = drop.verdict if drop else NOT_JUDGED
    if isinstance(error, AgreementBelowFloor):
        verdict = OUTSIDE
    return Judgement(
        verdict=verdict,
        error=error,
        drop=drop,
        agreement=agrees,
        floor=floor,
        golden=golden,
        confusion=counts,
    )


def _drop(found: Comparison, max_drop_points: float, *, same_file: bool) -> Drop:
    """A comparison as the report tells it; one file that differs from itself in nothing leaves nothing to estimate."""
    known = same_file and found.drop_points == 0 and not found.lost
    verdict = WITHIN if known else found.verdict(max_drop_points)
    return Drop(
        samples=found.samples,
        float_accuracy=found.float_value,
        accuracy=found.value,
        drop_points=found.drop_points,
        low=0.0 if known else found.low,
        high=0.0 if known else found.high,
        lost=found.lost,
        gained=found.gained,
        verdict=verdict,
        needed=found.needed(max_drop_points) if verdict == UNDECIDED else None,
        metric=found.metric,
        method=found.method,
    )


def _confusion(y: NDArray[np.int64], answered: NDArray[np.int64], count: int) -> list[list[int]] | None:
    """Samples by true and by answered class; None where the matrix would be too large for a report."""
    if count > MOST_CONFUSED:
        return None
    flat = np.bincount(y * count + answered, minlength=count * count)
    return [[int(number) for number in row] for row in flat.reshape(count, count)]


def _below(profile: str, agrees: float, floor: float) -> EdgeError | None:
    return AgreementBelowFloor(profile=profile, agreement=agrees, floor=floor) if agrees < floor else None


def _drop_error(profile: str, drop: Drop | None, budget: float, verdict: str) -> EdgeError | None:
    """The error of a drop with this verdict, or None where it has another."""
    if drop is None or drop.verdict != verdict:
        return None
    facts = {"profile": profile, "max_drop": budget, "low": drop.low, "high": drop.high}
    if verdict == OUTSIDE:
        return AccuracyOutside(drop_points=drop.drop_points, over=drop.drop_points - budget, **facts)
    needed = f"{drop.needed:,}" if drop.needed else "more than a million"
    return AccuracyUndecided(samples=drop.samples, needed=needed, **facts)
