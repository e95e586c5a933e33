"""What all profiles of a conversion share: what was asked, given and made, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import DataMismatch
from agent.contract.manifest import Task
from agent.transforms.golden import unpack
from agent.transforms.quantization import dequantize
from converters.contract import task_of
from converters.convert import Conversion
from converters.job import Converted, Original
from converters.models import scores
from converters.pixels import Pixels, derive, differently_scaled
from converters.run_set import store
from edge.conversion.given import Given
from edge.conversion.request import ConversionRequest
from edge.conversion.tried import Answers

Array = NDArray[Any]


@dataclass
class Shared:
    """A conversion whose child process has ended.

    Attributes:
        request, given: what was asked and given.
        conversion: what the child made.
        folder: where that lies.
    """

    request: ConversionRequest
    given: Given
    conversion: Conversion
    folder: Path

    @cached_property
    def original(self) -> Original:
        """The model that was given."""
        assert self.conversion.original is not None, "a job that ends without an error has read its model"
        return self.conversion.original

    @cached_property
    def run(self) -> dict[str, Array]:
        """Arrays of the run set: `input_k`, `float_k`, `y`."""
        return unpack(self.folder / "run.npz")

    @cached_property
    def task(self) -> Task:
        """As declared; else a classifier where there are labels or a softmax."""
        return task_of(
            self.request.pipeline.task,
            classes=scores(self.original.outputs),
            labelled="y" in self.run or bool(self.given.labels),
            probabilities=self.original.probabilities,
        )

    def check_labels(self) -> None:
        """Raise DataMismatch where the labels are not as many as the classes."""
        classes, labels = scores(self.original.outputs), self.given.labels
        if labels and self.task is Task.CLASSIFICATION and classes != len(labels):
            raise DataMismatch(
                purpose="label",
                path=self.request.labels,
                reason=f"it holds {len(labels)} labels",
                expected=f"{classes} labels, one a class"
                if classes
                else "none: its first output is not one score a class",
            )

    @cached_property
    def pixels(self) -> Pixels:
        """How pictures become inputs."""
        declared = self.request.pipeline.preprocessing
        if declared is not None:
            return Pixels(steps=declared, scale_from="request")
        data = tuple(facts for facts in (self.original.calibration, self.original.evaluation) if facts)
        return derive(self.original.inputs, data, self.request.input_scale)

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for all profiles."""
        notes = list(self.pixels.notes)
        doubt = differently_scaled(self.original.calibration, self.original.evaluation)
        if doubt:
            notes.append(doubt)
        if self.original.evaluation is not None and not self.original.evaluation.labelled:
            notes.append("the held-out data have no labels: agreement is measured, accuracy is not")
        elif self.original.evaluation is None:
            notes.append("no held-out data: accuracy is not measured")
        return tuple(notes)

    def inputs(self, converted: Converted) -> tuple[Array, ...]:
        """The run set as an artifact's tensors store it."""
        return tuple(store(self.run[f"input_{k}"], spec) for k, spec in enumerate(converted.inputs))

    def floats(self, converted: Converted, answers: Answers) -> tuple[Array, ...]:
        """The original's answers; where nothing here could run it, the untouched artifact's own stand for them."""
        if self.original.answered_by is not None:
            return tuple(self.run[f"float_{k}"] for k in range(len(converted.outputs)))
        return tuple(
            dequantize(array, spec) for array, spec in zip(answers.outputs, converted.outputs, strict=True)
        )
