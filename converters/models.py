"""What every model that was given has, whatever it is: its tensors, its answers, and what it can become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from agent.contract.manifest import ModelFormat, TensorSpec
from converters.calibration.data import Data
from converters.capability.measured import Use
from converters.job import Target
from converters.requirements import engines

Staged = Callable[..., AbstractContextManager[None]]
"""`stage(name, target key)`: announces and measures what happens inside."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What a conversion made.

    Attributes:
        path: the file.
        inputs, outputs: its tensors.
        uses: what it asks of an engine.
        settings: how it was made, as data.
        notes: what a person should know.
    """

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    uses: tuple[Use, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def engines(self) -> Mapping[str, str]:
        """Engine name to the least version that runs it."""
        return engines(ModelFormat(self.path.suffix[1:]), self.uses)


class Model(Protocol):
    """A model that was read.

    Attributes:
        inputs, outputs: its tensors; real numbers, open axes -1.
        probabilities: its first output comes from a softmax.
        can_answer: it can be run here.
        answered_by: what runs it, like `keras 3.15.1`.
        versions: of what was used to read it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    probabilities: bool
    can_answer: bool
    answered_by: str
    versions: Mapping[str, str]

    @property
    def classes(self) -> int | None:
        """Scores of the first output where it is `[N, classes]`, or None."""

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs, real numbers `[N, ...]`."""

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """Make an artifact in `folder`.

        Raises:
            ModelUnsupported: it can't become that.
        """


def scores(outputs: Sequence[TensorSpec]) -> int | None:
    """Scores of the first output where it is `[N, classes]`, or None."""
    shape = outputs[0].shape if outputs else ()
    return shape[1] if len(shape) == 2 and shape[1] > 0 else None


def open_axes(specs: Sequence[TensorSpec]) -> str | None:
    """The open axes behind the batch, for a sentence; None where all of them have a length."""
    found = [
        f"axis {axis} of its input `{spec.name}`"
        for spec in specs
        for axis, length in enumerate(spec.shape)
        if axis and length < 0
    ]
    return f"{' and '.join(found)} has no fixed length" if found else None


class KerasSource(Protocol):
    """What the ways out of TensorFlow need of a model, a Keras model or a signature of a SavedModel.

    Attributes:
        path: the file.
        model: the Keras model, or what is called like one.
        batch: 1 where the model takes no other, else None.
        inputs, outputs: its tensors.
        recurrent: names of its kinds of recurrent layers.
    """

    path: Path
    model: Any
    batch: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    recurrent: list[str]

    def unrolled(self) -> Any:
        """The model with its recurrent layers unrolled.

        Raises:
            ModelUnsupported: its sequences are too long for that.
        """
