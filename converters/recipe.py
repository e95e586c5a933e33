"""Recipes: how a model is converted, as data.

The rule: a recipe has a name that people type and a meaning that is written into the bundle. Nothing is chosen for
the user in silence: a name that is none is an error that says which one was meant.

| name | weights | activations | inputs and outputs | data |
|---|---|---|---|---|
| `as-is` | untouched | untouched | untouched | |
| `fp32` | float32 | float32 | float32 | |
| `int8` | int8 by channel | int8 by tensor (ONNX on x86-64: uint8) | TFLite int8, ONNX float32 | calibration |

`auto` is no recipe but the wish for the profile's own.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from agent.contract.errors import CalibrationMissing, ModelUnsupported, RecipeUnknown
from agent.contract.manifest import ModelFormat
from converters.source import SourceFormat

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to convert.

    Attributes:
        name: what people type.
        title: for people.
        quantizes: numbers become 8-bit integers, for which representative inputs are needed.
        converts: the artifact is another file than the model that was given.
    """

    name: str
    title: str
    quantizes: bool = False
    converts: bool = True


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="as-is", title="the file as it was given", converts=False),
        Recipe(name="fp32", title="32-bit floats"),
        Recipe(name="int8", title="8-bit integers, calibrated", quantizes=True),
    )
}


def find(name: str, *, profile_recipe: str, source: SourceFormat) -> Recipe:
    """The recipe for one profile.

    Args:
        name: what the user typed; `auto` takes `profile_recipe`, or `as-is` for a `.tflite`, which has no way back
            to a model that could be converted.
        profile_recipe: the profile's own.
        source: format of the model that was given.

    Raises:
        RecipeUnknown: there is none of that name.
    """
    wanted = name
    if name == AUTO:
        wanted = "as-is" if source is SourceFormat.TFLITE else profile_recipe
    if wanted not in RECIPES:
        matches = difflib.get_close_matches(wanted.lower(), [*RECIPES, AUTO], n=1)
        raise RecipeUnknown(
            recipe=wanted,
            suggestion=f", did you mean `{matches[0]}`?" if matches else "",
            known=", ".join([*RECIPES, AUTO]),
        )
    return RECIPES[wanted]


def check(
    recipe: Recipe, *, path: object, source: SourceFormat, target: ModelFormat, calibrated: bool
) -> None:
    """Refuse what can't be done before anything is started.

    Args:
        recipe: that is to be used.
        path: of the model, for the sentence.
        source: its format.
        target: the artifact's format.
        calibrated: representative inputs were given.

    Raises:
        ModelUnsupported: there is no way from `source` to `target` by this recipe.
        CalibrationMissing: the recipe quantizes and nothing was given.
    """
    same = source.value == target.value
    if not recipe.converts and not same:
        raise ModelUnsupported(
            path=path,
            target=target.value,
            reason=f"`{recipe.name}` leaves a {source.label} file what it is",
            way_out=f"take a profile whose boards run {source.label}, or another recipe",
        )
    if recipe.converts and source is SourceFormat.TFLITE:
        raise ModelUnsupported(
            path=path,
            target=f"{target.value} by `{recipe.name}`",
            reason="a .tflite file is the end of a conversion, not a beginning",
            way_out="convert the Keras model it was made from, or take it with `--recipe as-is`",
        )
    if recipe.converts and source is SourceFormat.ONNX and target is ModelFormat.TFLITE:
        raise ModelUnsupported(
            path=path,
            target=target.value,
            reason="edge has no way from ONNX to TFLite that keeps the model's layout",
            way_out="convert the Keras model it was made from, or take a profile whose boards run ONNX",
        )
    if recipe.quantizes and not calibrated:
        raise CalibrationMissing(recipe=recipe.name)
