"""The way in: one function that reads a model of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from converters.calibration import arrays
from converters.calibration.data import CALIBRATION, EVALUATION
from converters.calibration.source import DataKind
from converters.job import ConversionJob
from converters.models import Model, Staged
from converters.source import SourceFormat, check_trust


def open_model(job: ConversionJob, stage: Staged, *, interpreter: bool) -> Model:
    """Read the model of a job.

    Args:
        job: names the file, what it is, and what the user says of it.
        stage: measures.
        interpreter: a `.tflite` must be run here even where only TensorFlow can.

    Raises:
        ModelUnreadable, ModelHoldsCode, ModelNeedsTrust, ModelUnsupported: it can't be read or used.
    """
    path, kind = Path(job.source), job.source_format
    check_trust(path, kind, job.trust)
    if kind.is_keras:
        from converters.keras_model import KerasModel

        return KerasModel(path, kind, stage)
    if kind is SourceFormat.ONNX:
        from converters.onnx_model import OnnxModel

        return OnnxModel(path, stage, programs=job.programs)
    if kind is SourceFormat.TFLITE:
        from converters.tflite_model import TFLiteModel

        return TFLiteModel(path, stage, interpreter=interpreter)
    if kind is SourceFormat.SAVED_MODEL:
        from converters.saved_model import SavedModel

        return SavedModel(path, job.signature, stage)
    if kind is SourceFormat.TORCH_EXPORT:
        from converters.torch_export import TorchExport

        return TorchExport(path, stage)
    if kind is SourceFormat.TORCHSCRIPT:
        from converters.torchscript import TorchScript

        return TorchScript(path, sample(job), stage)
    from converters.sklearn_model import SklearnModel

    return SklearnModel(path, kind, stage)


def sample(job: ConversionJob) -> NDArray[Any] | None:
    """The first sample `[1, ...]` of a job's data, held-out ones first; None where there are none."""
    for source, purpose in ((job.evaluation, EVALUATION), (job.calibration, CALIBRATION)):
        if source is not None and source.kind is DataKind.ARRAYS:
            return next(iter(arrays.load(source.path, purpose=purpose).arrays.values()))[:1]
    return None
