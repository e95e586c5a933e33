"""Keras models whose weights are trained to be rounded, where the data have labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.fine_tuning import can_learn
from converters.recipe import FINE_TUNING, check, read
from converters.source import SourceFormat
from edge.conversion import ConversionRequest, ProfileResult, convert
from tests.conversion.digits import DATA, digits
from tests.conversion.proving import PROFILES, measure_here

OWN = """
title = "Trained to be int8"

[{kind}]
quantizer = "{quantizer}"
weights = "int8"
activations = "{activations}"
calibration = "min-max"
repairs = ["fine-tuning"]
"""
SCHEMES = {
    "tflite": ("ai-edge-quantizer", "int8"),
    "onnx": ("onnxruntime", "board"),
}


def run(folder: Path, model: str, recipe: str, kind: str, *, labelled: bool = True) -> ProfileResult:
    x, y = digits()
    np.savez(folder / "c.npz", x=x[:897], **({"y": y[:897]} if labelled else {}))
    np.savez(folder / "e.npz", x=x[897:], y=y[897:])
    request = ConversionRequest(
        model=DATA / model,
        profiles=(PROFILES[f"sim-{kind}"],),
        output=folder / "out",
        recipe=recipe,
        calibration=folder / "c.npz",
        evaluation=folder / "e.npz",
        max_drop_points=2.0,
    )
    (result,) = convert(request, measure_for=measure_here).results
    return result


@pytest.mark.bed
@pytest.mark.timeout(600)
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "without labels"])
def test_what_rounding_to_four_bits_loses_is_learned_again(tmp_path: Path, labelled: bool) -> None:
    result = run(tmp_path, "digits_depthwise.keras", "int4", "tflite", labelled=labelled)

    (candidate,) = result.candidates
    drops = {rung.name: rung.drop_points for rung in candidate.rungs}
    assert (FINE_TUNING in drops) is labelled
    if labelled:
        assert drops["as the recipe says"] > 4.0
        assert drops[FINE_TUNING] < drops["as the recipe says"] / 2
        assert any("trained anew" in note for note in result.notes)


@pytest.mark.bed
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SCHEMES)
def test_a_recipe_of_ones_own_fine_tunes_for_either_format(tmp_path: Path, kind: str) -> None:
    quantizer, activations = SCHEMES[kind]
    (tmp_path / "learned.toml").write_text(
        OWN.format(kind=kind, quantizer=quantizer, activations=activations)
    )

    result = run(tmp_path, "digits.keras", str(tmp_path / "learned.toml"), kind)

    assert result.error is None
    assert result.drop is not None
    assert result.drop.accuracy > 0.96
    assert result.report["recipe"]["scheme"]["repairs"] == [FINE_TUNING]


@pytest.mark.bed
@pytest.mark.timeout(600)
def test_a_model_that_can_not_be_trained_so_keeps_its_other_repairs(tmp_path: Path) -> None:
    import keras

    model = keras.models.load_model(DATA / "digits_depthwise.keras")
    model.trainable = False
    model.save(tmp_path / "frozen.keras")

    result = run(tmp_path, str(tmp_path / "frozen.keras"), "int4", "tflite")

    rungs = {rung.name: rung for rung in result.candidates[0].rungs}
    assert "can't be fine-tuned" in rungs[FINE_TUNING].reason
    assert rungs["as the recipe says"].drop_points is not None


def test_what_can_not_be_trained_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "learned.toml").write_text(
        OWN.format(kind="onnx", quantizer="onnxruntime", activations="int8")
    )

    with pytest.raises(ModelUnsupported, match="what can be trained here is Keras, not ONNX"):
        check(
            read(tmp_path / "learned.toml"),
            path="m.onnx",
            source=SourceFormat.ONNX,
            target=ModelFormat.ONNX,
            calibrated=True,
        )


@pytest.mark.parametrize(
    ("y", "classes", "learns"),
    [
        (np.array([0, 9]), 10, True),
        (np.array([0, 10]), 10, False),
        (np.array([-1, 1]), 10, False),
        (np.array([0.0, 1.0]), 10, False),
        (np.array([0, 1]), 1, False),
        (None, 10, False),
    ],
)
def test_there_must_be_a_class_for_each_sample(
    y: np.ndarray | None, classes: int | None, learns: bool
) -> None:
    data = Data(path=Path("c.npz"), sha256="", inputs=(np.zeros((2, 3), np.float32),), y=y)
    assert can_learn(data, classes) is learns
