"""Keras to TFLite by TensorFlow's converter.

The rule: variables are frozen into the graph before the converter sees it (handing it a Keras 3 model as trackable
object drops the weights of recurrent layers), only built-in operators are allowed, and an int8 file is whole:
int8 in, int8 out, batch 1. A float file keeps its batch axis open unless it was unrolled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ModelUnsupported
from converters import tflite_file
from converters.calibration.data import Data, evenly
from converters.job import MOST_CALIBRATION_SAMPLES, Target
from converters.models import Artifact, KerasSource, Staged
from converters.requirements import tflite_engines

FEW_SAMPLES = 50


def to_tflite(
    source: KerasSource, target: Target, calibration: Data | None, folder: Path, stage: Staged
) -> Artifact:
    """Make a `.tflite` in `folder`.

    Raises:
        ModelUnsupported: the converter refuses the model.
    """
    scheme = target.recipe.scheme(target.format)
    quantizes = scheme.calibrated
    if scheme.quantizer not in ("none", "tensorflow") or (quantizes and target.recipe.name != "int8"):
        raise ModelUnsupported(
            path=source.path, target=target.title, reason="nothing here makes it", way_out="try recipe int8"
        )
    static = quantizes or bool(source.recurrent) or source.batch == 1
    with stage("freeze the graph", target.key):
        frozen = _freeze(source, batch=1 if static else None)
    with stage("convert to TFLite", target.key):
        data = _convert(source, frozen, target, calibration if quantizes else None)
    path = folder / f"{target.key}.tflite"
    path.write_bytes(data)
    described = tflite_file.read(path)
    return Artifact(
        path=path,
        inputs=described.inputs,
        outputs=described.outputs,
        engines=tflite_engines(described, path),
        settings=_settings(target, calibration if quantizes else None, unrolled=bool(source.recurrent)),
        notes=_notes(source, calibration if quantizes else None),
    )


def _freeze(source: KerasSource, *, batch: int | None) -> Any:
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = source.unrolled()
    signature = [
        tensorflow.TensorSpec([batch, *spec.shape[1:]], spec.dtype, name=spec.name) for spec in source.inputs
    ]

    def answer(*tensors: Any) -> Any:
        outputs = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return tensorflow.nest.flatten(outputs)

    return convert_variables_to_constants_v2(tensorflow.function(answer).get_concrete_function(*signature))


def _convert(source: KerasSource, frozen: Any, target: Target, calibration: Data | None) -> bytes:
    import tensorflow

    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
    if calibration is not None:
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tensorflow.int8
        converter.inference_output_type = tensorflow.int8
        converter.representative_dataset = lambda: _samples(calibration, source.inputs[0].dtype)
    try:
        return bytes(converter.convert())
    except (
        Exception
    ) as error:  # the converter raises its own, RuntimeError and ValueError for the same reasons
        raise ModelUnsupported(
            path=source.path,
            target=target.title,
            reason=refusal(str(error)),
            way_out="try a profile whose boards run ONNX, or recipe fp32",
        ) from error


def _samples(calibration: Data, dtype: str) -> Iterator[list[Any]]:
    for index in evenly(calibration.samples, MOST_CALIBRATION_SAMPLES):
        yield [calibration.x[index : index + 1].astype(np.dtype(dtype))]


def _settings(target: Target, calibration: Data | None, *, unrolled: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"converter": "tensorflow", "operators": "built-in"}
    if calibration is not None:
        settings |= {
            "weights": "int8, a scale a channel",
            "activations": "int8, a scale a tensor",
            "inputs": "int8",
            "outputs": "int8",
            "calibration": calibration_settings(calibration, "min-max"),
        }
    return settings | ({"recurrent": "unrolled"} if unrolled else {})


def refusal(said: str) -> str:
    """What TensorFlow's converter means by a page of text: first the operators that no board has."""
    if found := re.search(r"^(?:TF Select|Flex) ops: (.+)$", said, re.MULTILINE):
        return f"it needs SELECT_TF_OPS for {found[1].strip()}, which no Python runtime of a board has"
    if found := re.search(r"^Custom ops: (.+)$", said, re.MULTILINE):
        return f"it needs operators that are not built in: {found[1].strip()}"
    return f"TensorFlow's converter says: {' '.join(said.split())[:300]}"


def calibration_settings(calibration: Data, method: str) -> dict[str, Any]:
    """What went into a calibration, as data for the bundle's recipe."""
    return {
        "method": method,
        "file": calibration.path.name,
        "sha256": calibration.sha256,
        "samples": min(calibration.samples, MOST_CALIBRATION_SAMPLES),
    }


def _notes(source: KerasSource, calibration: Data | None) -> tuple[str, ...]:
    notes = []
    if source.recurrent:
        notes.append(f"{', '.join(source.recurrent)} layers were unrolled, the batch is fixed to 1")
    return (*notes, *few_samples(calibration))


def few_samples(calibration: Data | None) -> tuple[str, ...]:
    """A warning where a calibration rests on little."""
    if calibration is not None and calibration.samples < FEW_SAMPLES:
        return (
            f"only {calibration.samples} calibration samples; {FEW_SAMPLES} or more find the ranges better",
        )
    return ()
