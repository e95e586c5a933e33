"""Keras models as TFLite: what the cells of `tests/conversion/test_cells.py` don't show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.job import Target
from converters.keras_model import KerasModel
from converters.recipe import built_in
from converters.source import SourceFormat
from tests.conversion.digits import DATA, digits
from tests.converters.test_tflite_quantize import answers
from tests.converters.unmeasured import unmeasured

pytestmark = pytest.mark.bed


def test_sixteen_bit_activations_that_tensorflow_lacks_are_made_all_the_same_and_said(tmp_path: Path) -> None:
    model = KerasModel(DATA / "rows_attention.keras", SourceFormat.KERAS, unmeasured)
    calibration = Data(path=Path("digits.npz"), sha256="digits", inputs=(digits()[0][700:897, ..., 0],))
    target = Target("tflite-int16x8", ModelFormat.TFLITE, built_in()["int16x8"], "x86_64")

    artifact = model.convert(target, calibration, tmp_path, unmeasured)

    assert artifact.notes[0].startswith("made by AI Edge Quantizer, because TensorFlow's converter says")


@pytest.mark.timeout(600)
def test_int8_of_resnet8_is_not_behind_the_plain_converter_and_not_larger(
    real_models: Path, tmp_path: Path
) -> None:
    known, held_out = (np.load(real_models / f"cifar10_{part}.npz") for part in ("calibration", "eval"))
    resnet8 = KerasModel(real_models / "resnet8_cifar10.h5", SourceFormat.KERAS_H5, unmeasured)
    calibration = Data(path=Path("cifar10.npz"), sha256="cifar10", inputs=(known["x"],))
    target = Target("tflite-int8", ModelFormat.TFLITE, built_in()["int8"], "x86_64")

    artifact = resnet8.convert(target, calibration, tmp_path, unmeasured)

    x = held_out["x"].astype(np.float32)
    accuracy = float(
        np.mean([answers(artifact.path, x[i : i + 1])[0] == held_out["y"][i] for i in range(len(x))])
    )
    assert accuracy > 0.7665 - 0.01
    assert artifact.path.stat().st_size < 98_464 * 1.05
