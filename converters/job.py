"""What is handed to the child process and what it says, line by line.

The rule: everything crosses as JSON of these dataclasses and as files in the job's folder; each line stands for
itself, so that a child that dies leaves what it had finished and the name of what it was at.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.manifest import ModelFormat, TensorSpec
from converters.calibration.source import DataKind, DataSource
from converters.capability.measured import Use
from converters.contract import Contract, LayerLoss, Rung
from converters.recipe import Recipe
from converters.source import SourceFormat, Trust

GOLDEN_SAMPLES = 128
MOST_CALIBRATION_SAMPLES = 200
"""More cost time, and min-max ranges only grow with them: on ResNet-8, 100, 200 and 500 gave 76.9, 76.6 and 76.1 %."""
SANITY_SEED = 20261123


@dataclass(frozen=True)
class Target:
    """One artifact to be made.

    Attributes:
        key: names it in the job; also its file's name without suffix.
        format: of the artifact.
        recipe: how.
        architecture: of the boards; decides the integer types of a quantized ONNX file.
        answer_here: the worker answers the run set with its own engine, because no proof environment will.
        newest_opset, newest_ir: that an ONNX file may have; 0 where nothing but the engine's version says so.
    """

    key: str
    format: ModelFormat
    recipe: Recipe
    architecture: str
    answer_here: bool = False
    newest_opset: int = 0
    newest_ir: int = 0

    @property
    def title(self) -> str:
        """For sentences, like `tflite by `int8``."""
        return f"{self.format.value} by `{self.recipe.name}`"


@dataclass(frozen=True)
class ConversionJob:
    """One start of the child process.

    Attributes:
        source, source_format: the model that was given.
        targets: what to make of it.
        folder: where artifacts and arrays are written.
        calibration, evaluation: where data are, or None.
        contract: what may be lost, for which artifacts that miss it are repaired; None repairs nothing.
        signature: which of a SavedModel's, or None.
        trust: which kinds of files may run code when they are read.
        programs: framework to the interpreter that does its one step of the conversion.
    """

    source: str
    source_format: SourceFormat
    targets: tuple[Target, ...]
    folder: str
    calibration: DataSource | None = None
    evaluation: DataSource | None = None
    contract: Contract | None = None
    signature: str | None = None
    trust: Trust = field(default_factory=Trust)
    programs: Mapping[str, str] = field(default_factory=dict)


class RunOrigin(enum.StrEnum):
    """Where the samples that every artifact answers come from."""

    HELD_OUT = "held-out"
    CALIBRATION = "calibration"
    SANITY = "sanity"


@dataclass(frozen=True)
class Stage:
    """One stage of the child's work.

    Attributes:
        name: like `start TensorFlow`.
        target: the target's key, or None where it serves all.
        seconds: wall time; 0 when it has just begun.
        peak_memory_mb: largest resident memory of the process in that stage, in 10**6 bytes.
    """

    name: str
    target: str | None = None
    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@dataclass(frozen=True)
class DataFacts:
    """What data hold.

    Attributes:
        sha256: of all of them, see `converters.calibration.data.Data`.
        samples: N.
        low, high: smallest and largest value of the first input.
        dtype: of the first input.
        labelled: they have labels.
        kind: how they are kept.
        classes: names of the classes in their order, where the data alone told them.
    """

    sha256: str
    samples: int
    low: float
    high: float
    dtype: str
    labelled: bool
    kind: DataKind = DataKind.ARRAYS
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Original:
    """The model that was given, and the run set that it has answered.

    The file `run.npz` in the job's folder holds `input_k` (real numbers), `float_k` (its answers, float32; absent
    where nothing here can run it), and `y` where the run set has labels.

    Attributes:
        inputs, outputs: its tensors.
        probabilities: its first output comes from a softmax.
        samples: of the run set.
        origin: of the run set.
        answered_by: what answered, like `keras 3.15.1`, or None.
        calibration, evaluation: what the data files hold, or None.
        versions: of what was used.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    probabilities: bool
    samples: int
    origin: RunOrigin
    answered_by: str | None
    calibration: DataFacts | None = None
    evaluation: DataFacts | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Converted:
    """One artifact.

    Attributes:
        key: of the target.
        file: its name in the job's folder.
        inputs, outputs: its tensors.
        engines: engine name to the least version that runs it.
        uses: what it asks of an engine.
        settings: how it was made, as data.
        notes: what a person should know.
        answered_by: what answered the run set here into `<key>.npz` (`output_k`), or None.
        rungs: of the ladder that was climbed, the recipe as it was asked for first; empty where none was.
        layers: what each layer loses, the worst first; empty where it was not needed to know.
    """

    key: str
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engines: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    answered_by: str | None = None
    rungs: tuple[Rung, ...] = ()
    layers: tuple[LayerLoss, ...] = ()
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a target, or the whole job, came to nothing.

    Attributes:
        code: of the error tree.
        facts: of the error; empty for `conversion.crashed`, where the parent knows more.
        reason: of a crash.
        target: the target's key, or None for the whole job.
    """

    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    target: str | None = None


@dataclass(frozen=True)
class Line:
    """One line that the child says; exactly one field is set, or `done`."""

    begun: Stage | None = None
    stage: Stage | None = None
    original: Original | None = None
    converted: Converted | None = None
    failure: Failure | None = None
    done: bool = False
