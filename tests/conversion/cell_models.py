"""The models of the cells' tests: one of each source and network, and all that edge makes of each.

The rule: one child process makes all artifacts of one model, by the way that `edge convert` takes, without repairs.
A model that is the artifact of another (ONNX, TFLite) is taken from there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import EdgeError
from agent.contract.manifest import ModelFormat
from converters import recipe as recipes
from converters.calibration.source import DataKind, DataSource
from converters.convert import ENVIRONMENT, Conversion, convert
from converters.extras import programs
from converters.job import ConversionJob, Target
from converters.recipe import built_in
from converters.source import SourceFormat, Trust
from tests.conversion.cells import ESTIMATORS, ONNX, PICTURES, TFLITE, Cell, cells
from tests.conversion.digits import DATA
from tests.conversion.frameworks import ROOT, environment, saved_by, write_shaped

KERAS = {
    "CNN": "digits",
    "depthwise CNN": "digits_depthwise",
    "ResNet": "digits_resnet",
    "LSTM": "rows_lstm",
    "GRU": "rows_gru",
    "transformer": "rows_attention",
}
TORCH = dict(zip(KERAS, ("cnn", "depthwise", "resnet", "lstm", "gru", "attention"), strict=True))
SUFFIXES = {
    SourceFormat.TORCH_EXPORT: ".pt2",
    SourceFormat.TORCHSCRIPT: ".pt",
    SourceFormat.SKOPS: ".skops",
    SourceFormat.PICKLE: ".joblib",
}


@dataclass(frozen=True)
class Made:
    """What came of one model.

    Attributes:
        folder: of the artifacts.
        errors: by target key.
        conversion: None where nothing could be made at all.
    """

    folder: Path
    errors: dict[str, EdgeError]
    conversion: Conversion | None


class Models:
    """Models of every source, made when a cell needs them, and everything that became of them."""

    def __init__(self, folder: Callable[[str], Path]) -> None:
        self._folder = folder
        self._saved: dict[str, Path] = {}
        self._made: dict[tuple[SourceFormat, str], Made] = {}

    def made(self, source: SourceFormat, network: str) -> Made:
        """All artifacts of one model."""
        if (source, network) not in self._made:
            self._made[source, network] = self._convert(source, network)
        return self._made[source, network]

    def _convert(self, source: SourceFormat, network: str) -> Made:
        folder = self._folder("job")
        write_shaped(folder, shape(source, network))
        errors: dict[str, EdgeError] = {}
        targets = []
        for cell in cells():
            if (cell.source, cell.network) == (source, network):
                recipe = built_in()[cell.recipe]
                try:
                    recipes.check(recipe, path=network, source=source, target=cell.format, calibrated=True)
                    targets.append(Target(cell.key, cell.format, recipe, "x86_64", answer_here=True))
                except EdgeError as error:
                    errors[cell.key] = error
        if not targets:
            return Made(folder, errors, None)
        for name in programs(source, targets):
            environment(name, folder / "log")
        job = ConversionJob(
            source=str(self.path(source, network)),
            source_format=source,
            targets=tuple(targets),
            folder=str(folder),
            calibration=arrays(folder / "calibration.npz"),
            evaluation=arrays(folder / "held-out.npz"),
            trust=Trust(code=True, pickle=True),
        )
        try:
            conversion = convert(job, log=folder / "log", environments=ROOT)
        except EdgeError as error:  # of the model as a whole
            return Made(folder, errors | {target.key: error for target in targets}, None)
        return Made(folder, errors | conversion.errors, conversion)

    def path(self, source: SourceFormat, network: str) -> Path:
        """The file or folder of a model."""
        if source is SourceFormat.KERAS:
            return DATA / f"{KERAS[network]}.keras"
        if source is SourceFormat.KERAS_H5:
            return self._keras() / f"{KERAS[network]}.h5"
        if source is SourceFormat.SAVED_MODEL:
            return self._keras() / KERAS[network]
        if source is SourceFormat.TFLITE:
            return self._artifact(SourceFormat.KERAS, network, TFLITE)
        if source is SourceFormat.ONNX:
            return self._artifact(SourceFormat.TORCH_EXPORT, network, ONNX)
        if source in ESTIMATORS:
            return self._saved_by("sklearn", "sklearn_models.py", (64,)) / f"{network}{SUFFIXES[source]}"
        return (
            self._saved_by("litert-torch", "torch_models.py", (1, 8, 8))
            / f"{TORCH[network]}{SUFFIXES[source]}"
        )

    def _artifact(self, source: SourceFormat, network: str, kind: ModelFormat) -> Path:
        """A float file that another source became."""
        made = self.made(source, network)
        key = Cell(source, network, kind, "fp32").key
        assert made.conversion is not None, made.errors
        return made.folder / made.conversion.converted[key].file

    def _keras(self) -> Path:
        if "keras" not in self._saved:
            folder = self._folder("keras")
            done = subprocess.run(
                [sys.executable, "-I", str(Path(__file__).parent / "saved_keras.py"), str(folder)],
                capture_output=True,
                text=True,
                check=False,
                env=ENVIRONMENT,
            )
            assert done.returncode == 0, done.stderr
            self._saved["keras"] = folder
        return self._saved["keras"]

    def _saved_by(self, framework: str, script: str, samples: tuple[int, ...]) -> Path:
        if framework not in self._saved:
            self._saved[framework] = saved_by(framework, script, self._folder(framework), samples)
        return self._saved[framework]


def shape(source: SourceFormat, network: str) -> tuple[int, ...]:
    """Of a sample: pictures have their channel first where they came from PyTorch."""
    if source in ESTIMATORS:
        return (64,)
    if network not in PICTURES:
        return (8, 8)
    of_torch = (SourceFormat.TORCH_EXPORT, SourceFormat.TORCHSCRIPT, SourceFormat.ONNX)
    return (1, 8, 8) if source in of_torch else (8, 8, 1)


def arrays(path: Path) -> DataSource:
    return DataSource(location=str(path), kind=DataKind.ARRAYS)
