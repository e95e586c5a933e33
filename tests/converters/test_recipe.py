"""Recipes and what they can't do."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract import codec
from agent.contract.errors import (
    CalibrationMissing,
    ExitCode,
    ModelUnsupported,
    RecipeInvalid,
    RecipeUnknown,
)
from agent.contract.manifest import ModelFormat
from converters.recipe import Recipe, built_in, check, find, read
from converters.source import SourceFormat

KERAS, ONNX, TFLITE = SourceFormat.KERAS, SourceFormat.ONNX, SourceFormat.TFLITE


def test_a_mistyped_recipe_is_never_guessed() -> None:
    with pytest.raises(RecipeUnknown, match="did you mean `int8`") as refused:
        find("itn8")

    assert refused.value.exit_code is ExitCode.USAGE
    assert "as-is, fp16, fp32, int16x8, int4" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("recipe", "source", "target"),
    [
        ("as-is", KERAS, ModelFormat.TFLITE),
        ("as-is", ONNX, ModelFormat.TFLITE),
        ("int8", TFLITE, ModelFormat.ONNX),
    ],
)
def test_what_has_no_way_is_refused_with_a_way_out(
    recipe: str, source: SourceFormat, target: ModelFormat
) -> None:
    with pytest.raises(ModelUnsupported) as refused:
        check(built_in()[recipe], path="m", source=source, target=target, calibrated=True)

    assert refused.value.hint


def test_nothing_is_calibrated_on_made_up_data() -> None:
    with pytest.raises(CalibrationMissing) as refused:
        check(built_in()["int8"], path="m", source=KERAS, target=ModelFormat.TFLITE, calibrated=False)

    assert refused.value.exit_code is ExitCode.USAGE


def test_the_recipes_that_come_with_edge_are_these() -> None:
    made = {name: (recipe.tflite is not None, recipe.onnx is not None) for name, recipe in built_in().items()}

    assert made == {
        "as-is": (False, False),
        "fp32": (True, True),
        "fp16": (True, True),
        "int8": (True, True),
        "int8-dynamic": (True, True),
        "int8-float-io": (True, False),
        "int8-tensor": (True, True),
        "int8-tensorrt": (False, True),
        "int8-int4": (True, False),
        "int16x8": (True, False),
        "int4": (True, True),
        "int4-block32": (True, False),
    }


@pytest.mark.parametrize("name", sorted(built_in()))
def test_a_recipe_comes_whole_out_of_the_child_s_document(name: str) -> None:
    assert codec.decode(Recipe, codec.encode(built_in()[name])) == built_in()[name]


def test_a_recipe_of_one_s_own_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "head-float.toml").write_text(
        'title = "int8, but the head"\n'
        "[tflite]\n"
        'quantizer = "ai-edge-quantizer"\nweights = "int8"\nactivations = "int8"\ncalibration = "min-max"\n'
        'keep_float = ["re:.*/head/.*"]\n'
    )

    own = find(str(tmp_path / "head-float.toml"))

    assert own.name == "head-float"
    assert own.scheme(ModelFormat.TFLITE).keep_float == ("re:.*/head/.*",)
    with pytest.raises(ModelUnsupported, match="makes no onnx file"):
        own.scheme(ModelFormat.ONNX)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title = ", "Invalid value"),
        ("[tflite]", "`title` is missing"),
        ('title = "x"\n[tflite]\nweigths = "int8"', "`weigths` is none of"),
        ('title = "x"\n[tflite]\nweights = "int7"', "`weights` must be one of float32, float16, int8, int4"),
        ('title = "x"\n[tflite]\nweights = "int8"', "need a `quantizer`"),
        ('title = "x"\n[tflite]\nblock = 32', "`block` is a number above 0"),
        ('title = "x"\n[tflite]\nactivations = "int8"', "`calibration` belongs to"),
        ('title = "x"\n[onnx]\ninputs = "int8"', "float32 or what the activations are"),
        ('title = "x"\n[onnx]\nkeep_float = ["re:("]', "`keep_float` holds"),
        ('title = "x"\n[onnx]\nrepairs = ["magic"]', "`repairs` holds `magic`"),
        ("title = 7", "`title` must be a string"),
    ],
)
def test_a_slip_in_a_recipe_is_told_and_never_passed_over(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "own.toml").write_text(text)

    with pytest.raises(RecipeInvalid, match=reason) as refused:
        read(tmp_path / "own.toml")

    assert refused.value.exit_code is ExitCode.USAGE


def test_a_recipe_of_one_s_own_needs_a_file_and_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "int8.toml").write_text('title = "x"')
    (tmp_path / "My Recipe.toml").write_text('title = "x"')

    with pytest.raises(RecipeInvalid, match="`int8` comes with edge"):
        read(tmp_path / "int8.toml")
    with pytest.raises(RecipeInvalid, match="lower-case words"):
        read(tmp_path / "My Recipe.toml")
    with pytest.raises(RecipeInvalid, match="No such file"):
        read(tmp_path / "none.toml")
