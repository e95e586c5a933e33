"""edge's artifacts against the defaults of the tools that it stands on: `python -m benchmarks.converters MODELS`.

MODELS is the folder of published models. Each way gets the same calibration samples (200 at most) and answers the same
held-out samples, so that differences are paired: `behind` is how many points the default is better, with its 95 %
interval. Prints a Markdown table; the exit code is 1 where an artifact of edge is behind its default for certain, or
more than 5 % larger.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import EdgeError
from agent.contract.manifest import ModelFormat
from agent.transforms.agreement import classes
from agent.transforms.quantization import dequantize
from converters.calibration.data import Data, evenly
from converters.engines import onnx_engine, tflite_engine
from converters.job import MOST_CALIBRATION_SAMPLES, Target
from converters.recipe import built_in
from converters.run_set import store
from converters.source import recognise
from converters.statistics import paired_drop
from converters.tflite_file import read as read_tflite

MODELS = {"mnist.onnx": "mnist", "resnet8_cifar10.h5": "cifar10"}
"""File of a model to the beginning of its data's names."""
MOST_LARGER = 1.05

Array = Any
Right = Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model with its data: float32 calibration and held-out inputs `[N, ...]`, classes `[N]`."""

    path: Path
    model: Any
    calibration: Array
    x: Array
    y: Array


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact: how it was made, its size, and which held-out samples it answers right, `[N]`."""

    way: str
    size_bytes: int
    right: Right


@contextlib.contextmanager
def silent(*_: object) -> Iterator[None]:
    """No stages are told."""
    yield


def open_case(folder: Path, name: str) -> Case:
    """Read a model and its data."""
    path, data = folder / name, MODELS[name]
    kind = recognise(path)
    model: Any
    if kind.is_keras:
        from converters.keras_model import KerasModel

        model = KerasModel(path, kind, silent)
    else:
        from converters.onnx_model import OnnxModel

        model = OnnxModel(path, silent)
    given = np.load(folder / f"{data}_calibration.npz")["x"].astype(np.float32)
    held_out = np.load(folder / f"{data}_eval.npz")
    return Case(
        path=path,
        model=model,
        calibration=given[evenly(len(given), MOST_CALIBRATION_SAMPLES)],
        x=held_out["x"].astype(np.float32),
        y=held_out["y"],
    )


def edge(case: Case, kind: ModelFormat, recipe: str, folder: Path) -> Path:
    """What edge makes."""
    target = Target(f"edge-{recipe}", kind, built_in()[recipe], platform.machine())
    data = Data(path=case.path, sha256="0" * 64, inputs=(case.calibration,))
    return Path(case.model.convert(target, data, folder, silent).path)


def static(case: Case, folder: Path) -> Path:
    """`onnxruntime.quantization.quantize_static` as it is."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    whole = edge(case, ModelFormat.ONNX, "fp32", folder)
    name = onnx_input(whole)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(case.calibration)

        def get_next(self) -> dict[str, Array] | None:
            sample = next(self.samples, None)
            return None if sample is None else {name: sample[None]}

    made = folder / "default-static.onnx"
    quantize_static(str(whole), str(made), Reader())
    return made


def dynamic(case: Case, folder: Path) -> Path:
    """`onnxruntime.quantization.quantize_dynamic` as it is."""
    from onnxruntime.quantization import quantize_dynamic

    made = folder / "default-dynamic.onnx"
    quantize_dynamic(str(edge(case, ModelFormat.ONNX, "fp32", folder)), str(made))
    return made


def plain(case: Case, folder: Path, *, calibrated: bool) -> Path:
    """`tf.lite.TFLiteConverter` with `Optimize.DEFAULT`; calibrated: int8 throughout."""
    import tensorflow

    converter = tensorflow.lite.TFLiteConverter.from_keras_model(case.model.model)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if calibrated:
        converter.representative_dataset = lambda: ([sample[None]] for sample in case.calibration)
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tensorflow.int8
    made = folder / f"default-{'int8' if calibrated else 'dynamic'}.tflite"
    with contextlib.redirect_stdout(sys.stderr):  # Keras prints what it saves
        made.write_bytes(converter.convert())
    return made


PAIRS: tuple[tuple[ModelFormat, str, str, Callable[[Case, Path], Path]], ...] = (
    (ModelFormat.ONNX, "int8", "quantize_static", static),
    (ModelFormat.ONNX, "int8-dynamic", "quantize_dynamic", dynamic),
    (ModelFormat.TFLITE, "int8", "TFLiteConverter, int8", lambda *of: plain(*of, calibrated=True)),
    (
        ModelFormat.TFLITE,
        "int8-dynamic",
        "TFLiteConverter, dynamic",
        lambda *of: plain(*of, calibrated=False),
    ),
)
"""Format, edge's recipe, and the default that it is compared with."""


def onnx_input(path: Path) -> str:
    """Name of the only input."""
    import onnx

    return str(onnx.load(str(path)).graph.input[0].name)


def measure(case: Case, path: Path, way: str) -> Row:
    """Let an artifact answer the held-out samples."""
    if path.suffix == ".onnx":
        scores = onnx_engine(path).answer([case.x])[0]
    else:
        file, engine = read_tflite(path), tflite_engine(path)
        assert engine is not None
        scores = dequantize(engine.answer([store(case.x, file.inputs[0])])[0], file.outputs[0])
    return Row(way=way, size_bytes=path.stat().st_size, right=classes(scores) == case.y)


def points(better: Right, worse: Right) -> tuple[float, float, float]:
    """How many points `worse` is behind, with its 95 % interval."""
    found = paired_drop(
        samples=len(worse), lost=int(np.sum(better & ~worse)), gained=int(np.sum(worse & ~better))
    )
    return 100 * found.drop, 100 * found.low, 100 * found.high


def interval(found: tuple[float, float, float]) -> str:
    """For the table."""
    return f"{found[0]:+.2f} ({found[1]:+.2f} to {found[2]:+.2f})"


def compare(case: Case, folder: Path) -> bool:
    """Print the rows of one model; whether edge is nowhere behind."""
    floats = classes(case.model.answer([case.x])[0]) == case.y
    name, good = case.path.name, True
    print(f"| `{name}` | float | {case.path.stat().st_size:,} | {100 * np.mean(floats):.2f} | | | |")
    for kind, recipe, title, default in PAIRS:
        if kind is ModelFormat.TFLITE and not recognise(case.path).is_keras:
            continue
        try:
            ours = measure(case, edge(case, kind, recipe, folder), f"edge `{recipe}`, {kind.value}")
        except EdgeError as error:
            print(f"| `{name}` | edge `{recipe}`, {kind.value} | {error} | | | | |")
            continue
        theirs = measure(case, default(case, folder), f"{title}, {kind.value}")
        behind, larger = points(theirs.right, ours.right), ours.size_bytes / theirs.size_bytes
        good = good and behind[1] <= 0 and larger <= MOST_LARGER
        for row in (ours, theirs):
            compared = f"{interval(behind)} | {100 * (larger - 1):+.1f} %" if row is ours else " | "
            drop = interval(points(floats, row.right))
            print(
                f"| `{name}` | {row.way} | {row.size_bytes:,} | {100 * np.mean(row.right):.2f} | {drop} | {compared} |",
                flush=True,
            )
    return good


def main(folder: Path) -> int:
    """Print the table; 1 where edge is behind."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print("| model | way | bytes | right, % | lost of float, points | behind its default, points | larger |")
    print("|---|---|---:|---:|---:|---:|---:|")
    good = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as made:
            good.append(compare(open_case(folder, name), Path(made)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
