"""Keras to TFLite, every recipe of every kind of model: the artifact runs in LiteRT and keeps its accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.job import Target
from converters.keras_model import KerasModel
from converters.models import Artifact
from converters.recipe import built_in
from converters.source import SourceFormat
from tests.conversion.digits import DATA, digits
from tests.converters.test_tflite_quantize import answers

pytestmark = pytest.mark.bed

MODELS = {
    "cnn": "digits.keras",
    "depthwise cnn": "digits_depthwise.keras",
    "lstm": "rows_lstm.keras",
    "gru": "rows_gru.keras",
    "transformer with exact gelu": "rows_attention.keras",
}
RECIPES = [name for name, recipe in built_in().items() if recipe.tflite]
REFUSED = {
    # 12 units are fewer than a block of 32
    ("lstm", "int4-block32"): "no operator of it can be int4",
    ("gru", "int4-block32"): "no operator of it can be int4",
}
HELD_OUT = 300
MOST_LOST = {"int4": 0.1, "int4-block32": 0.06, "int8-int4": 0.06}
"""Measured: the depthwise net loses 8.3 points by int4; its pointwise layers have 16 inputs each."""
MOST_LOST_OF_INT8 = 0.02


@contextlib.contextmanager
def unmeasured(name: str, target: str | None = None) -> Iterator[None]:
    yield


@cache
def model(name: str) -> KerasModel:
    return KerasModel(DATA / name, SourceFormat.KERAS, unmeasured)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cells")


def inputs_of(file: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = digits()
    return (x[..., 0] if file.startswith("rows") else x), y


def made(file: str, recipe: str, folder: Path) -> Artifact:
    x, _ = inputs_of(file)
    folder = folder / file
    folder.mkdir(exist_ok=True)
    calibration = Data(path=Path("digits.npz"), sha256="digits", inputs=(x[700:897],))
    target = Target(f"tflite-{recipe}", ModelFormat.TFLITE, built_in()[recipe], "x86_64")
    return model(file).convert(target, calibration, folder, unmeasured)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.timeout(600)
def test_the_artifact_runs_and_keeps_its_accuracy(kind: str, recipe: str, folder: Path) -> None:
    file = MODELS[kind]
    if reason := REFUSED.get((kind, recipe)):
        with pytest.raises(ModelUnsupported, match=reason):
            made(file, recipe, folder)
        return
    x, y = (array[897:][:HELD_OUT] for array in inputs_of(file))
    original = float((model(file).answer([x])[0].argmax(axis=1) == y).mean())

    artifact = made(file, recipe, folder)

    one_by_one = artifact.inputs[0].shape[0] == 1
    found = [answers(artifact.path, sample) for sample in (np.split(x, len(x)) if one_by_one else [x])]
    accuracy = float((np.concatenate(found) == y).mean())
    assert accuracy > original - MOST_LOST.get(recipe, MOST_LOST_OF_INT8)
    scheme = built_in()[recipe].scheme(ModelFormat.TFLITE)
    assert (artifact.inputs[0].dtype, artifact.outputs[0].dtype) == (scheme.inputs, scheme.outputs)


def test_sixteen_bit_activations_that_tensorflow_lacks_are_made_all_the_same_and_said(folder: Path) -> None:
    artifact = made("rows_attention.keras", "int16x8", folder)

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
