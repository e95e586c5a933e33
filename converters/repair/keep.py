"""Keep the accuracy contract for one artifact, where the model is loaded: make it, judge it, repair it.

The rule: what judges here is the converter's own engine, to find the rung; the verdict that counts is given on the
answers of the proof run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import Task
from agent.transforms.quantization import dequantize
from converters.calibration.data import Data
from converters.contract import Contract, task_of
from converters.engines import Engine
from converters.fine_tuning import can_learn
from converters.job import RunOrigin, Target
from converters.metrics import metric
from converters.metrics.compare import Comparison, proportions, resampled
from converters.metrics.scores import agreement_each, cosine_each
from converters.models import Artifact, Model
from converters.pixels import detecting_of
from converters.repair.apply import samples
from converters.repair.ladder import Climbed, Ladder, Steps, repairable
from converters.run_set import RunSet, store

Arrays = Sequence[NDArray[Any]]
PROBES = 32
"""Calibration samples that tell what a layer loses."""


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """What the artifacts of a job are judged by.

    Attributes:
        contract: what may be lost.
        model: the original.
        run_set: that is judged.
        floats: the original's answers to it.
        calibration: representative inputs.
        trainable: the model can be trained here.
    """

    contract: Contract
    model: Model
    run_set: RunSet
    floats: Arrays
    calibration: Data
    trainable: bool = False

    def keep(self, target: Target, make: Callable[[Target], Artifact]) -> Climbed | None:
        """Climb the ladder for a target; None where it has no rungs for it, or nothing here runs the artifact."""
        judged = self.run_set.origin is not RunOrigin.SANITY and target.recipe.converts
        if not judged or not repairable(target.recipe.scheme(target.format)):
            return None
        few = samples(self.calibration, self.model.inputs, PROBES)
        probes = [np.concatenate(arrays) for arrays in zip(*few, strict=True)]
        steps = Steps(
            make=make,
            judge=lambda artifact: self._judge(answers(artifact, target, self.run_set.inputs)),
            probe=lambda artifact: answers(artifact, target, probes),
            expected=self.model.answer(probes),
            budget_points=self.contract.max_drop_points,
            learns=self.trainable and can_learn(self.calibration, self.model.classes),
        )
        return Ladder(target, steps).climb()

    def _judge(self, outputs: Arrays) -> Comparison:
        y, floats = self.run_set.y, self.floats
        task = task_of(
            self.contract.task,
            classes=self.model.classes,
            labelled=y is not None or self.contract.named,
            probabilities=self.model.probabilities,
        )
        name = self.contract.metric or metric.default(task, y, self.model.classes)
        if y is not None and name is not None:
            detecting = detecting_of(task, self.contract.postprocessing, self.run_set.inputs[0].shape)
            found, original = metric.answered(outputs, detecting), metric.answered(floats, detecting)
            return metric.compare(name, found, original, y)
        if task is Task.CLASSIFICATION:
            same = agreement_each(outputs[0], floats[0])
            return proportions("agreement", same, np.ones_like(same))
        near = cosine_each(outputs[0], floats[0])
        ones = np.ones_like(near)
        return resampled(
            "agreement", len(near), lambda at: float(near[at].mean()), lambda at: float(ones[at].mean())
        )


def answers(artifact: Artifact, target: Target, inputs: Arrays) -> list[NDArray[Any]]:
    """An artifact's answers by the engine of this process, as real numbers."""
    engine = Engine.for_file(Path(artifact.path), target.format)
    assert engine is not None, "what has no engine here is not climbed for"
    found = engine.answer([store(array, spec) for array, spec in zip(inputs, artifact.inputs, strict=True)])
    return [dequantize(array, spec) for array, spec in zip(found, artifact.outputs, strict=True)]
