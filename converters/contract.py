"""The accuracy contract: what a conversion may cost, and what was done to keep it.

The rule: these cross between the process that asks and the one that converts, so that the ladder of repairs is climbed
where the model is loaded already.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.contract.manifest import Step, Task


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What may be lost.

    Attributes:
        max_drop_points: against the float original, in percentage points.
        task: what the outputs mean; None derives it from labels and softmax.
        metric: by name; None takes that of the task.
        postprocessing: steps from the outputs to an answer.
        named: the classes have names, so that the outputs are those of a classifier.
    """

    max_drop_points: float
    task: Task | None = None
    metric: str | None = None
    postprocessing: tuple[Step, ...] = ()
    named: bool = False


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One repair that was tried.

    Attributes:
        name: like `cross-layer-equalization`.
        drop_points: lost with it, measured by the converter's own engine; None where it could not be made.
        low, high: 95 % interval of that.
        reason: why it could not be made.
    """

    name: str
    drop_points: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What a layer loses.

    Attributes:
        name: as `keep_float` of a recipe takes it.
        kind: of operator, like `Conv`.
        sqnr_db: ratio of signal to noise of the model's outputs where this layer alone is quantized, in dB, over some
            of the calibration samples; None where that could not be made.
        reason: why not.
    """

    name: str
    kind: str
    sqnr_db: float | None
    reason: str = ""


def task_of(declared: Task | None, *, classes: int | None, labelled: bool, probabilities: bool) -> Task:
    """What a model's outputs mean: as declared, else a classifier where there are labels or a softmax.

    Args:
        declared: by the user, or None.
        classes: scores of the first output where it is `[N, classes]`, or None.
        labelled: there are labels, or names of the classes.
        probabilities: the first output comes from a softmax.
    """
    if declared is not None:
        return declared
    known = labelled or probabilities
    return Task.CLASSIFICATION if known and classes and classes > 1 else Task.TENSOR
