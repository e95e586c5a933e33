"""The way in: one function that reads a model of any kind."""

from __future__ import annotations

from pathlib import Path

from converters.models import Model, Staged
from converters.source import SourceFormat


def open_model(path: Path, kind: SourceFormat, stage: Staged, *, interpreter: bool) -> Model:
    """Read a model.

    Args:
        path: the file.
        kind: what it is.
        stage: measures.
        interpreter: a `.tflite` must be run here even where only TensorFlow can.

    Raises:
        ModelUnreadable, ModelHoldsCode, ModelUnsupported: it can't be read or used.
    """
    if kind.is_keras:
        from converters.keras_model import KerasModel

        return KerasModel(path, kind, stage)
    if kind is SourceFormat.ONNX:
        from converters.onnx_model import OnnxModel

        return OnnxModel(path, stage)
    from converters.tflite_model import TFLiteModel

    return TFLiteModel(path, stage, interpreter=interpreter)
