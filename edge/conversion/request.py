"""What is asked of a conversion, and what comes of it.

The rule: one request names one model and any number of profiles; each profile ends with a bundle that was admitted
or with the error that says why not. The command's exit code is the worst of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent.contract.errors import EdgeError, ExitCode
from agent.contract.profile import DeviceProfile
from converters.contract import LayerLoss, Rung
from converters.metrics.compare import TANGO
from converters.source import Trust
from edge.conversion.pipeline_file import DeclaredPipeline


@dataclass(frozen=True, kw_only=True)
class ConversionRequest:
    """What a person asks for.

    Attributes:
        model: the trained model's file.
        profiles: the kinds of boards that it is for; at least one.
        output: folder that gets one bundle folder a profile, by its name.
        recipe: a recipe's name or its `.toml` file; `auto` tries every candidate that the board can run.
        calibration: representative inputs: a file, a folder, or `module:function`.
        evaluation: held-out inputs, with labels where accuracy is to be judged.
        max_drop_points: accuracy that may be lost against the float original, in percentage points.
        prefer: `size` or `latency`, where `auto` chooses; None is the smallest that is not slow.
        metric: that accuracy is judged by; None takes that of the task.
        keep_failed: write the bundle all the same when it is outside its budget or can't be judged.
        name: the model's name; None takes it from the file's.
        labels: text file with one label a line, one line a class.
        label_column: of a table; None takes the pipeline's.
        input_scale: (low, high) that pixel values 0 and 255 become; None derives it from the data.
        pipeline: what the outputs mean and the steps around the model, where they are not to be derived.
        signature: which of a SavedModel's signatures; None where it has one.
        trust: which kinds of files may run code when they are read.
        use_cache: what the same job made before is taken.
    """

    model: Path
    profiles: tuple[DeviceProfile, ...]
    output: Path
    recipe: str = "auto"
    calibration: Path | None = None
    evaluation: Path | None = None
    max_drop_points: float = 1.0
    prefer: str | None = None
    metric: str | None = None
    keep_failed: bool = False
    name: str | None = None
    labels: Path | None = None
    label_column: str | None = None
    input_scale: tuple[float, float] | None = None
    pipeline: DeclaredPipeline = field(default_factory=DeclaredPipeline)
    signature: str | None = None
    trust: Trust = field(default_factory=Trust)
    use_cache: bool = True


@dataclass(frozen=True, kw_only=True)
class MeasureResult:
    """What a run of an artifact showed, in a proof environment here or on a board.

    Attributes:
        engine, engine_version: what ran it, like `litert` and `2.3.0`.
        platform: where, like `x86_64, Python 3.11`, or `aarch64, Python 3.11, on pi-1`.
        p50_ms, p95_ms: of one batch-1 inference: CPU time in a proof environment; on a board the time that passed,
            with as many threads as its agent takes.
        memory_mb: what loading and running the model added to the process, in 10**6 bytes.
        peak_memory_mb: the most that the whole process had, Python and engine too; None where it was not told.
        temperature_c_before, temperature_c: of the board's hottest zone, before and after; None where it has none.
        throttled_before, throttled: the firmware's flags, hexadecimal, before and after; None where it has none.
        core_part: of one core, what the timed run got; well below 1 the board was busy with something else. None where
            it was not told.
    """

    engine: str
    engine_version: str
    platform: str
    p50_ms: float
    p95_ms: float
    memory_mb: float
    peak_memory_mb: float | None = None
    temperature_c_before: float | None = None
    temperature_c: float | None = None
    throttled_before: str | None = None
    throttled: str | None = None
    core_part: float | None = None


class Measure(Protocol):
    """Runs a bundle's artifact in the board's exact engine version, in another process, here or on the board."""

    def __call__(self, bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        """Run the artifact on the arrays `input_k` of `inputs` and write `output_k` to `outputs`.

        Args:
            bundle: the bundle's folder.
            inputs: `.npz`, engine dtype, `[N, ...]`.
            outputs: `.npz` to write.
            repeat: least number of timed inferences.

        Raises:
            ProofFailed: the artifact does not load or run there.
        """


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Accuracy, or another metric, against the float original on the same held-out samples. Positive means lost.

    Attributes:
        samples: N.
        float_accuracy, accuracy: of original and artifact, in the metric's unit: 0 to 1 of an accuracy.
        drop_points: what was lost: percentage points of a metric that goes from 0 to 1, per cent of the original's
            value where it has a unit.
        low, high: its 95 % interval, by `method`.
        lost, gained: samples that only the original, only the artifact got right; 0 where that has no meaning.
        verdict: `within`, `outside` or `undecided` against the budget.
        needed: samples that would decide, when it is undecided; None when no number of practical size would.
        metric: what `float_accuracy` and `accuracy` are, in its unit.
        method: of the interval, with its source.
    """

    samples: int
    float_accuracy: float
    accuracy: float
    drop_points: float
    low: float
    high: float
    lost: int
    gained: int
    verdict: str
    needed: int | None = None
    metric: str = "top-1"
    method: str = TANGO

    @property
    def difference(self) -> str:
        """Artifact less original, in points, with its interval; what is lost is below 0."""
        points, low, high = (0.0 - value for value in (self.drop_points, self.high, self.low))
        return f"{points:+.2f} ({low:+.2f} … {high:+.2f})"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate, as the report tells it.

    Attributes:
        recipe: its name.
        verdict: see `edge.conversion.judgement`; `refused` where there is no artifact that runs.
        chosen: it is the one in the bundle.
        size_bytes: of the artifact; 0 where there is none.
        drop: accuracy against the original; None without labels.
        agreement: with the original on the golden set, 0 to 1.
        p50_ms, p95_ms, memory_mb: in the proof environment of this machine.
        board_p50_ms, board_p95_ms, board_memory_mb: on the board.
        board_peak_memory_mb, board_temperature_c: of the whole process there, and of the board's hottest zone after it.
        rungs: repairs that were tried, the recipe as it is first; empty where none was needed.
        layers: what each layer loses, where it was measured.
        reason: why it is not within its budget.
    """

    recipe: str
    verdict: str
    chosen: bool = False
    size_bytes: int = 0
    drop: Drop | None = None
    agreement: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    board_p50_ms: float | None = None
    board_p95_ms: float | None = None
    board_memory_mb: float | None = None
    board_peak_memory_mb: float | None = None
    board_temperature_c: float | None = None
    rungs: tuple[Rung, ...] = ()
    layers: tuple[LayerLoss, ...] = ()
    reason: str = ""

    @property
    def latency_ms(self) -> float | None:
        """On the board, else here."""
        return self.board_p50_ms if self.board_p50_ms is not None else self.p50_ms


@dataclass(frozen=True, kw_only=True)
class ProfileResult:
    """What came of the conversion for one profile.

    Attributes:
        profile: its name.
        recipe: the recipe that was used.
        format: `tflite` or `onnx`.
        bundle: the bundle's folder, or None where none was written.
        digest: the bundle's, or None.
        verdict: `within`, `outside`, `undecided` or `not-judged`.
        size_bytes: of the artifact; 0 where there is none.
        float_size_bytes: of the model that was given.
        drop: accuracy against the original; None without labelled held-out data.
        agreement: with the original on the golden set, 0 to 1; None for a sanity set.
        floor: least agreement that admits; None for a sanity set.
        golden: how many samples from where, like `128 held-out`.
        p50_ms, p95_ms, memory_mb: measured in the proof environment on this machine; None without one.
        proved_in: engine, version and platform of the proof run; None where the board's trial is the first run.
        board: what its run on a board showed; None where no board was asked for.
        notes: what a person should know, one sentence each.
        candidates: all that were tried.
        error: why it was not admitted, or None.
        report: the whole report, JSON-ready, as it lies in the bundle.
    """

    profile: str
    recipe: str
    format: str
    bundle: Path | None = None
    digest: str | None = None
    verdict: str = "not-judged"
    size_bytes: int = 0
    float_size_bytes: int = 0
    drop: Drop | None = None
    agreement: float | None = None
    floor: float | None = None
    golden: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    proved_in: str | None = None
    board: MeasureResult | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[Row, ...] = ()
    error: EdgeError | None = None
    report: dict[str, Any] | None = None

    @property
    def exit_code(self) -> ExitCode:
        """What a command that did only this would end with."""
        return self.error.exit_code if self.error else ExitCode.DONE


_BADNESS = (ExitCode.DONE, ExitCode.INCOMPLETE, ExitCode.NEGATIVE_VERDICT, ExitCode.FAILED, ExitCode.USAGE)


@dataclass(frozen=True, kw_only=True)
class ConversionOutcome:
    """What came of a request: one result a profile, in the order of the request.

    Attributes:
        model: the model's name.
        results: one for each profile.
        notes: what holds for all of them.
    """

    model: str
    results: tuple[ProfileResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The worst of the results' exit codes."""
        return max((result.exit_code for result in self.results), key=_BADNESS.index)
