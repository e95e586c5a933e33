"""Bundles made by hand from the small models of this tree, so that a journey needs no conversion.

A `mark` makes another bundle of the same behaviour; `disagrees` one whose float model answered otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.manifest import (
    BundleManifest,
    FileEntry,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Task,
    TensorSpec,
)
from agent.transforms.golden import GoldenSet, write_golden
from agent.transforms.quantization import dequantize, quantize
from edge.bundle import write_bundle

MODELS = Path(__file__).parent.parent / "data" / "models"
ENGINES = {
    ModelFormat.ONNX: {"onnxruntime": "1.15"},
    ModelFormat.TFLITE: {"litert": "1.0", "tflite-runtime": "2.11"},
}
SAMPLES = 32


def digits(count: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Held-out handwritten digits, 0 to 1, `[N, 64]`, and what they are."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.data[-count:] / 16).astype(np.float32), data.target[-count:]


def make_bundle(folder: Path, *, profile: str, model: str, mark: str = "a", disagrees: bool = False) -> Path:
    """Write a bundle of `tests/data/models/MODEL` for `profile` into `folder`."""
    path = MODELS / model
    form = ModelFormat.ONNX if path.suffix == ".onnx" else ModelFormat.TFLITE
    run, take, give = _onnx(path) if form is ModelFormat.ONNX else _tflite(path)
    x, _ = digits()
    stored = quantize(x, take) if take.scale is not None else x
    proof = run(stored)
    real = dequantize(proof, give) if give.scale is not None else proof.astype(np.float32)
    golden = GoldenSet(
        inputs=(stored,),
        proof=(proof,),
        float_outputs=(np.roll(real, 1, axis=1) if disagrees else real,),
    )
    report = json.dumps({"mark": mark}).encode()

    def manifest(files: tuple[FileEntry, ...]) -> BundleManifest:
        return BundleManifest(
            model="digits",
            profile=profile,
            format=form,
            model_file=f"model{path.suffix}",
            task=Task.CLASSIFICATION,
            inputs=(take,),
            outputs=(give,),
            golden=Golden(
                "golden.npz",
                SAMPLES,
                GoldenOrigin.HELD_OUT,
                floor=0.9,
                agreement=0.0 if disagrees else 1.0,
                proved_in="the test",
            ),
            requires=Requirements(ENGINES[form]),
            recipe={"name": "as-is"},
            report_file="report.json",
            source_sha256="0" * 64,
            verdict="outside" if disagrees else "within",
            files=files,
        )

    files: dict[str, bytes | Path] = {
        f"model{path.suffix}": path,
        "golden.npz": write_golden(golden),
        "report.json": report,
    }
    write_bundle(folder, files=files, manifest=manifest)
    return folder


def _onnx(path: Path) -> tuple[Any, TensorSpec, TensorSpec]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    take, give = session.get_inputs()[0], session.get_outputs()[0]
    return (
        lambda x: session.run(None, {take.name: x})[0],
        TensorSpec(take.name, "float32", (-1, 64)),
        TensorSpec(give.name, "float32", (-1, 10)),
    )


def _tflite(path: Path) -> tuple[Any, TensorSpec, TensorSpec]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    take, give = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(x: np.ndarray) -> np.ndarray:
        answers = []
        for row in x:
            interpreter.set_tensor(take["index"], row[None])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(give["index"])[0].copy())
        return np.stack(answers)

    return run, _spec(take), _spec(give)


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    quantized = {"scale": float(scale), "zero_point": int(zero_point)} if scale else {}
    return TensorSpec(
        detail["name"], np.dtype(detail["dtype"]).name, tuple(int(n) for n in detail["shape"]), **quantized
    )
