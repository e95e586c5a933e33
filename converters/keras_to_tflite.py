"""Keras to TFLite by TensorFlow's converter, and on to AI Edge Quantizer where a scheme says so.

The rule: variables are frozen into the graph before the converter sees it (handing it a Keras 3 model as trackable
object drops the weights of recurrent layers), only built-in operators are allowed, and what is calibrated has batch 1.
A float file keeps its batch axis open unless it was unrolled; it is made once for all schemes that begin with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ModelUnsupported
from converters import tflite_file
from converters.calibration.data import Data, evenly
from converters.job import MOST_CALIBRATION_SAMPLES, Target
from converters.models import Artifact, KerasSource, Staged
from converters.recipe import Scheme
from converters.requirements import tflite_uses
from converters.settings import few_samples, tflite_settings

LAST_WORDS_CHARACTERS = 300


def to_tflite(
    source: KerasSource, target: Target, calibration: Data | None, folder: Path, stage: Staged
) -> Artifact:
    """Make a `.tflite` in `folder`.

    Raises:
        ModelUnsupported: the converter refuses the model.
    """
    scheme = target.recipe.scheme(target.format)
    if not _by_tensorflow(scheme):
        return _by_quantizer(source, target, calibration, folder, stage)
    calibration = calibration if scheme.calibrated else None
    try:
        path = _make(source, target, scheme, calibration, folder / f"{target.key}.tflite", stage)
    except ModelUnsupported as error:
        if scheme.activations != "int16":
            raise
        return _instead(error, source, target, calibration, folder, stage)
    described = tflite_file.read(path)
    unrolled = {"recurrent": "unrolled"} if source.recurrent else {}
    return Artifact(
        path=path,
        inputs=described.inputs,
        outputs=described.outputs,
        uses=tflite_uses(described, path),
        settings={"converter": "tensorflow", **tflite_settings(scheme, calibration), **unrolled},
        notes=(*_notes(source), *few_samples(calibration)),
    )


def _by_tensorflow(scheme: Scheme) -> bool:
    """Whether TensorFlow's converter makes it: what it can't keep in float, AI Edge Quantizer can."""
    return scheme.quantizer != "ai-edge-quantizer" and not scheme.keep_float


def _by_quantizer(
    source: KerasSource, target: Target, calibration: Data | None, folder: Path, stage: Staged
) -> Artifact:
    """Make a float file, or take the one that was made for another target, and quantize that."""
    from converters.tflite_quantize import quantize_file

    scheme = target.recipe.scheme(target.format)
    batch = _batch(source, scheme)
    given = folder / f"float-batch-{batch or 'any'}.tflite"
    if not given.exists():
        _make(source, target, Scheme(), None, given, stage, batch=batch)
    made = quantize_file(given, target, calibration, folder, stage, source=source.path)
    return replace(made, notes=(*_notes(source), *made.notes))


def _instead(
    error: ModelUnsupported,
    source: KerasSource,
    target: Target,
    calibration: Data | None,
    folder: Path,
    stage: Staged,
) -> Artifact:
    """16-bit activations by AI Edge Quantizer, which has operators that TensorFlow's converter lacks.

    Raises:
        ModelUnsupported: the converter's, where the other one fails too.
    """
    try:
        made = _by_quantizer(source, target, calibration, folder, stage)
    except ModelUnsupported as second:
        raise error from second
    why = error.facts["reason"].partition(": ")[2].partition(" error: ")[0][:120]
    return replace(
        made, notes=(f"made by AI Edge Quantizer, because TensorFlow's converter says: {why}", *made.notes)
    )


def _batch(source: KerasSource, scheme: Scheme) -> int | None:
    return 1 if scheme.calibrated or source.recurrent or source.batch == 1 else None


def _make(
    source: KerasSource,
    target: Target,
    scheme: Scheme,
    calibration: Data | None,
    path: Path,
    stage: Staged,
    *,
    batch: int | None = None,
) -> Path:
    """Write what TensorFlow's converter makes of a source by a scheme to `path`."""
    with stage("freeze the graph", target.key):
        frozen = _freeze(source, batch=batch or _batch(source, scheme))
    with stage("convert to TFLite", target.key):
        path.write_bytes(_convert(source, frozen, target, scheme, calibration))
    return path


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


def _convert(
    source: KerasSource, frozen: Any, target: Target, scheme: Scheme, calibration: Data | None
) -> bytes:
    import tensorflow

    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
    if scheme.weights != "float32":
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if scheme.weights == "float16":
        converter.target_spec.supported_types = [tensorflow.float16]
    converter._experimental_disable_per_channel = scheme.granularity == "tensor"
    if calibration is not None:
        _calibrated(converter, source, scheme, calibration)
    try:
        return bytes(converter.convert())
    except (
        Exception
    ) as error:  # the converter raises its own, RuntimeError and ValueError for the same reasons
        raise ModelUnsupported(
            path=source.path,
            target=target.title,
            reason=_reason(" ".join(str(error).split())),
            way_out="try a profile whose boards run ONNX, or recipe fp32",
        ) from error


def _reason(said: str) -> str:
    """Why the converter refused, from what it said."""
    missing = re.findall(r"tf\.(\w+)\(", said.partition("TF Select ops: ")[2])
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        return f"it needs TensorFlow's own operators (SELECT_TF_OPS), which no board's runtime has: {names}"
    if missing := re.findall(r"'tf\.(\w+)' op is neither", said):
        return f"it needs operators that TFLite does not have: {', '.join(dict.fromkeys(missing))}"
    return f"TensorFlow's converter says: {said[:LAST_WORDS_CHARACTERS]}"


def _calibrated(converter: Any, source: KerasSource, scheme: Scheme, calibration: Data) -> None:
    """Set a converter to integers everywhere."""
    import tensorflow

    known = tensorflow.lite.OpsSet
    operators = {
        "int8": known.TFLITE_BUILTINS_INT8,
        "int16": known.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    }
    if scheme.activations not in operators or scheme.calibration != "min-max":
        raise ModelUnsupported(
            path=source.path,
            target="tflite",
            reason="TensorFlow's converter calibrates int8 and int16 activations by min-max alone",
            way_out='take `activations = "int8"` and `calibration = "min-max"`',
        )
    converter.target_spec.supported_ops = [operators[scheme.activations]]
    converter.inference_input_type = tensorflow.as_dtype(scheme.inputs)
    converter.inference_output_type = tensorflow.as_dtype(scheme.outputs)
    converter.representative_dataset = lambda: _samples(calibration, source)


def _samples(calibration: Data, source: KerasSource) -> Iterator[list[Any]]:
    for index in evenly(calibration.samples, MOST_CALIBRATION_SAMPLES):
        sample = zip(calibration.sample(int(index)), source.inputs, strict=True)
        yield [array.astype(np.dtype(spec.dtype)) for array, spec in sample]


def _notes(source: KerasSource) -> tuple[str, ...]:
    if not source.recurrent:
        return ()
    return (f"{', '.join(source.recurrent)} layers were unrolled, the batch is fixed to 1",)
