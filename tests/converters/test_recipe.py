"""Recipes and what they can't do."""

from __future__ import annotations

import pytest

from agent.contract.errors import CalibrationMissing, ExitCode, ModelUnsupported, RecipeUnknown
from agent.contract.manifest import ModelFormat
from converters.recipe import RECIPES, check, find
from converters.source import SourceFormat

KERAS, ONNX, TFLITE = SourceFormat.KERAS, SourceFormat.ONNX, SourceFormat.TFLITE


def test_auto_is_the_profile_s_own() -> None:
    assert find("auto", profile_recipe="int8", source=KERAS).name == "int8"
    assert find("fp32", profile_recipe="int8", source=KERAS).name == "fp32"


def test_a_tflite_file_is_taken_as_it_is() -> None:
    assert find("auto", profile_recipe="int8", source=TFLITE).name == "as-is"


def test_a_mistyped_recipe_is_never_guessed() -> None:
    with pytest.raises(RecipeUnknown, match="did you mean `int8`") as refused:
        find("itn8", profile_recipe="int8", source=KERAS)

    assert refused.value.exit_code is ExitCode.USAGE
    assert "as-is, fp32, int8, auto" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("recipe", "source", "target"),
    [
        ("as-is", KERAS, ModelFormat.TFLITE),
        ("as-is", ONNX, ModelFormat.TFLITE),
        ("fp32", TFLITE, ModelFormat.TFLITE),
        ("int8", TFLITE, ModelFormat.ONNX),
        ("int8", ONNX, ModelFormat.TFLITE),
    ],
)
def test_what_has_no_way_is_refused_with_a_way_out(
    recipe: str, source: SourceFormat, target: ModelFormat
) -> None:
    with pytest.raises(ModelUnsupported) as refused:
        check(RECIPES[recipe], path="m", source=source, target=target, calibrated=True)

    assert refused.value.hint


def test_nothing_is_calibrated_on_made_up_data() -> None:
    with pytest.raises(CalibrationMissing) as refused:
        check(RECIPES["int8"], path="m", source=KERAS, target=ModelFormat.TFLITE, calibrated=False)

    assert refused.value.exit_code is ExitCode.USAGE
