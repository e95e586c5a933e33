"""The bundle's manifest: one converted model for one kind of board, with all that it needs, as one digest.

The rule: what is not listed with length and SHA-256 in `files` is not part of the bundle, and what the manifest
names must be listed. The bundle's digest is the SHA-256 of the stored bytes of `manifest.json`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid, NameInvalid
from agent.contract.names import check_digest, check_name, check_path

BUNDLE_SCHEMA = "edge.bundle/1"
MAX_FILE_BYTES = 4 * 1024**3


class ModelFormat(str, enum.Enum):
    """The artifact's file format."""

    TFLITE = "tflite"
    ONNX = "onnx"
    UNKNOWN = "unknown"


class EngineName(str, enum.Enum):
    """The library that runs an artifact on a board."""

    LITERT = "litert"
    TFLITE_RUNTIME = "tflite-runtime"
    ONNXRUNTIME = "onnxruntime"
    UNKNOWN = "unknown"


class Task(str, enum.Enum):
    """What a model's outputs mean, which decides how agreement is measured."""

    CLASSIFICATION = "classification"
    """The first output holds one score per class in its last axis."""
    DETECTION = "detection"
    """The outputs hold boxes with a class and a score each."""
    SEGMENTATION = "segmentation"
    """The first output holds a class, or one score per class, for each place of a map."""
    EMBEDDING = "embedding"
    """The first output is a vector that lies near those of similar inputs."""
    REGRESSION = "regression"
    """The outputs are quantities."""
    ANOMALY = "anomaly"
    """The first output tells how unusual the input is."""
    TENSOR = "tensor"
    """Outputs are numbers without further meaning to edge."""
    UNKNOWN = "unknown"


class GoldenOrigin(str, enum.Enum):
    """Where a golden set's inputs come from."""

    HELD_OUT = "held-out"
    CALIBRATION = "calibration"
    SANITY = "sanity"
    """Made up; it can show a wrong runtime or a damaged file, and says nothing about accuracy."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle.

    Attributes:
        path: relative POSIX path inside the bundle's folder.
        size_bytes: exact length.
        sha256: of the file's bytes.
    """

    path: str
    size_bytes: int
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _checked(check_path, self.path, what="file of a bundle")
        _checked(check_digest, self.sha256, what="digest of a file")
        if not 0 <= self.size_bytes <= MAX_FILE_BYTES:
            raise DocumentInvalid(document="FileEntry", reason=f"`size_bytes` is {self.size_bytes}")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the artifact as its engine sees it.

    Attributes:
        name: the tensor's name in the file.
        dtype: numpy's name of the element type in the file, like `float32` or `int8`.
        shape: axis lengths; -1 where any length is taken. Axis 0 is the batch.
        scale, zero_point: for an integer tensor that stands for real numbers, real = scale * (stored - zero_point).
            On a float output, `scale` alone is the step that its last quantizer leaves. None where it is plain float.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of pre- or postprocessing, carried out by `agent.transforms`: its name and its parameters."""

    op: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Golden:
    """The golden set: inputs with what the float model and the proof run answered to them.

    The file is an uncompressed `.npz` with, for the k-th input and output tensor, `input_k` (engine dtype,
    `[N, ...]`), `proof_k` (the artifact's own outputs in the proof run, engine dtype) and `float_k` (the float
    original's outputs, float32; absent when origin is sanity).

    Attributes:
        file: path in the bundle.
        samples: N.
        origin: where the inputs come from.
        floor: least agreement with the float model, 0 to 1, by `agent.transforms.agreement`; it comes from the
            user's accuracy budget, never from this artifact. None when origin is sanity.
        agreement: what convert measured with the same function on the same set. None when origin is sanity.
        proved_in: `engine version, platform` of the proof run, or None when there was none (the board's trial
            is then the first run, and only the float check judges it).
    """

    file: str
    samples: int
    origin: GoldenOrigin
    floor: float | None = None
    agreement: float | None = None
    proved_in: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Requirements:
    """What the bundle needs of the board that it is made for.

    Attributes:
        engines: engine name to the least version that runs the artifact; any one of them will do.
        architectures: `aarch64`, `x86_64`; empty means any.
        memory_bytes: what the model is expected to need beside the bare agent; 0 means not known.
    """

    engines: Mapping[str, str]
    architectures: tuple[str, ...] = ()
    memory_bytes: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BundleManifest:
    """A bundle. See the module docstring for its rule.

    Attributes:
        model: the model's name.
        profile: name of the device profile that it was made for.
        format, model_file: the artifact.
        task, inputs, outputs: what it computes.
        preprocessing: steps from a decoded input (an image is uint8 `[H, W, C]`) to the artifact's input.
        postprocessing: steps from the artifact's outputs to an answer for a person.
        labels_file: UTF-8 text, one label a line, or None.
        golden: the golden set.
        requires: what it needs of a board.
        recipe: how it was converted, as data, with its name under `name`.
        report_file: JSON of what was measured at conversion.
        source_sha256: of the model that the user gave.
        verdict: `within`, `outside`, `unknown` or `not-judged` against the accuracy budget.
        files: every file of the bundle except `manifest.json` itself.
    """

    model: str
    profile: str
    format: ModelFormat
    model_file: str
    task: Task
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden: Golden
    requires: Requirements
    recipe: Mapping[str, Any]
    report_file: str
    source_sha256: str
    verdict: str
    files: tuple[FileEntry, ...]
    preprocessing: tuple[Step, ...] = ()
    postprocessing: tuple[Step, ...] = ()
    labels_file: str | None = None
    schema: str = BUNDLE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != BUNDLE_SCHEMA:
            raise DocumentInvalid(
                document="BundleManifest",
                reason=f"`schema` is {self.schema!r}, this version reads {BUNDLE_SCHEMA!r}",
            )
        _checked(check_name, self.model, what="model")
        _checked(check_name, self.profile, what="profile")
        paths = [entry.path for entry in self.files]
        if len(set(paths)) != len(paths) or "manifest.json" in paths:
            raise DocumentInvalid(
                document="BundleManifest", reason="`files` names a path twice or the manifest itself"
            )
        named = [self.model_file, self.golden.file, self.report_file] + (
            [self.labels_file] if self.labels_file else []
        )
        for path in named:
            if path not in paths:
                raise DocumentInvalid(
                    document="BundleManifest", reason=f"`{path}` is named but not listed in `files`"
                )

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(entry.size_bytes for entry in self.files)

    def file(self, path: str) -> FileEntry:
        """The entry of `path`, which must be listed."""
        return next(entry for entry in self.files if entry.path == path)


def _checked(check: Any, value: str, *, what: str) -> None:
    try:
        check(value, what=what)
    except NameInvalid as error:
        raise DocumentInvalid(document="manifest", reason=str(error)) from error
