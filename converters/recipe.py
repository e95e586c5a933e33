"""Recipes: how a model is converted, as data.

The rule: a recipe is a file, `recipes/NAME.toml` here or one of the user's own, and its name says what it does. It is
parsed once, into what stands below; from there it travels whole, into the child process and into the bundle.
Nothing is chosen for the user in silence: a name that is none is an error that says which one was meant.

`auto` is no recipe but the wish that each one is tried.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from agent.contract.codec import from_plain
from agent.contract.errors import (
    CalibrationMissing,
    DocumentInvalid,
    ModelUnsupported,
    RecipeInvalid,
    RecipeUnknown,
)
from agent.contract.manifest import ModelFormat
from converters.routes import route
from converters.source import SourceFormat

AUTO = "auto"
SUFFIX = ".toml"
FOLDER = Path(__file__).parent / "recipes"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_FILE_BYTES = 64 * 1024
CHOICES = {
    "quantizer": ("none", "tensorflow", "ai-edge-quantizer", "onnxruntime"),
    "weights": ("float32", "float16", "int8", "int4"),
    "activations": ("float32", "float16", "dynamic", "int8", "uint8", "int16", "board"),
    "fully_connected": ("", "int8", "int4"),
    "granularity": ("tensor", "channel", "block"),
    "inputs": ("float32", "int8", "int16"),
    "outputs": ("float32", "int8", "int16"),
    "calibration": ("", "min-max", "entropy", "percentile"),
}
EQUALIZATION, BIAS, FINE_TUNING = REPAIRS = ("cross-layer-equalization", "bias-correction", "fine-tuning")
CALIBRATED = ("int8", "uint8", "int16", "board")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How the numbers of a model are stored in one format. The values of each field stand in `CHOICES`.

    Attributes:
        quantizer: what makes it; `none` where the converter alone does.
        weights: dtype that weights are stored in.
        fully_connected: dtype of the weights of fully connected layers, where it is another.
        activations: dtype that is computed in; `dynamic` are int8 whose ranges are found at each inference, `board`
            is uint8 on x86-64 and int8 on arm64.
        granularity: of the weights' scales.
        block: weights that share a scale where `granularity` is `block`; else 0.
        inputs, outputs: dtypes of the model's own tensors.
        symmetric: the activations' zero points are 0.
        calibration: how ranges are found in representative inputs; empty where none are needed.
        keep_float: names of layers, nodes or tensors that stay float, or expressions that begin with `re:`.
        repairs: what is done to the weights first; the names stand in `REPAIRS`.

    Raises:
        DocumentInvalid: a value is none of those, or two of them exclude each other.
    """

    quantizer: str = "none"
    weights: str = "float32"
    fully_connected: str = ""
    activations: str = "float32"
    granularity: str = "channel"
    block: int = 0
    inputs: str = "float32"
    outputs: str = "float32"
    symmetric: bool = False
    calibration: str = ""
    keep_float: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise _invalid(f"`{name}` must be one of {', '.join(filter(None, choices))}")
        if unknown := set(self.repairs) - set(REPAIRS):
            raise _invalid(f"`repairs` holds `{min(unknown)}`, known are {', '.join(REPAIRS)}")
        if (self.granularity == "block") != (self.block > 0):
            raise _invalid("`block` is a number above 0 where `granularity` is `block`, and nowhere else")
        if self.calibrated != bool(self.calibration):
            raise _invalid(
                f"`calibration` belongs to the activations {', '.join(CALIBRATED)} and to no others"
            )
        if {self.inputs, self.outputs} - {"float32", self.activations}:
            raise _invalid("`inputs` and `outputs` are float32 or what the activations are")
        if self.quantizer == "none" and self.weights not in ("float32", "float16"):
            raise _invalid(f"`weights` of {self.weights} need a `quantizer`")
        for expression in (text[3:] for text in self.keep_float if text.startswith("re:")):
            try:
                re.compile(expression)
            except re.error as error:
                raise _invalid(f"`keep_float` holds `{expression}`: {error}") from error

    @property
    def calibrated(self) -> bool:
        """Whether representative inputs are needed."""
        return self.activations in CALIBRATED


def _invalid(reason: str) -> DocumentInvalid:
    return DocumentInvalid(document="scheme", reason=reason)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to convert.

    Attributes:
        name: what people type.
        title: for people.
        converts: the artifact is another file than the model that was given.
        tflite, onnx: the scheme for each format, or None where there is none.
    """

    name: str
    title: str
    converts: bool = True
    tflite: Scheme | None = None
    onnx: Scheme | None = None

    def scheme(self, kind: ModelFormat) -> Scheme:
        """How it makes a file of that format.

        Raises:
            ModelUnsupported: it makes none.
        """
        found = self.tflite if kind is ModelFormat.TFLITE else self.onnx
        if found is None:
            raise ModelUnsupported(
                path="the model",
                target=f"{kind.value} by `{self.name}`",
                reason=f"`{self.name}` makes no {kind.value} file",
                way_out="take another recipe, or a profile whose boards run another format",
            )
        return found


@functools.cache
def built_in() -> Mapping[str, Recipe]:
    """The recipes that come with edge, by name."""
    return {path.stem: _parse(path) for path in sorted(FOLDER.glob(f"*{SUFFIX}"))}


def read(path: Path) -> Recipe:
    """A recipe of the user's own.

    Raises:
        RecipeInvalid: it is no recipe, or has the name of one that comes with edge.
    """
    if path.stem in {*built_in(), AUTO}:
        raise RecipeInvalid(path=path, reason=f"`{path.stem}` comes with edge; give the file another name")
    return _parse(path)


def _parse(path: Path) -> Recipe:
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise RecipeInvalid(path=path, reason=f"it is longer than {MOST_FILE_BYTES:,} bytes")
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        if not NAME.fullmatch(path.stem):
            raise RecipeInvalid(
                path=path, reason="its name is not lower-case words and numbers joined by hyphens"
            )
        _check_keys(plain)
        return from_plain(Recipe, {**plain, "name": path.stem})
    except OSError as error:
        raise RecipeInvalid(path=path, reason=error.strerror or str(error)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeInvalid(path=path, reason=str(error)) from error
    except DocumentInvalid as error:
        raise RecipeInvalid(path=path, reason=error.facts["reason"]) from error


def _check_keys(plain: Mapping[str, Any]) -> None:
    """Raise DocumentInvalid for a key that has no meaning: a slip must not change what is made."""
    allowed = {"title", "converts", "tflite", "onnx"}
    tables = [(plain, allowed)]
    tables += [
        (plain[key], {field.name for field in fields(Scheme)})
        for key in ("tflite", "onnx")
        if isinstance(plain.get(key), dict)
    ]
    for table, known in tables:
        if unknown := sorted(set(table) - known):
            raise _invalid(f"`{unknown[0]}` is none of {', '.join(sorted(known))}")


def find(name: str) -> Recipe:
    """The recipe that the user typed: a name, or a file that ends in `.toml`.

    Raises:
        RecipeUnknown: there is none of that name.
        RecipeInvalid: the file is no recipe.
    """
    if name.endswith(SUFFIX):
        return read(Path(name))
    known = built_in()
    if name not in known:
        matches = difflib.get_close_matches(name.lower(), [*known, AUTO], n=1)
        raise RecipeUnknown(
            recipe=name,
            suggestion=f", did you mean `{matches[0]}`?" if matches else "",
            known=", ".join([*known, AUTO]),
        )
    return known[name]


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
    if not recipe.converts:
        if source.value != target.value:
            raise ModelUnsupported(
                path=path,
                target=target.value,
                reason=f"`{recipe.name}` leaves a {source.label} file what it is",
                way_out=f"take a profile whose boards run {source.label}, or another recipe",
            )
        return
    route(source, target, path=path)
    learns = FINE_TUNING in recipe.scheme(target).repairs
    if learns and not source.is_keras:
        raise ModelUnsupported(
            path=path,
            target=f"{target.value} by `{recipe.name}`",
            reason=f"it is fine-tuned, and what can be trained here is Keras, not {source.label}",
            way_out=f"give the Keras model, or take `{FINE_TUNING}` out of the recipe's repairs",
        )
    if (learns or recipe.scheme(target).calibrated) and not calibrated:
        raise CalibrationMissing(recipe=recipe.name)
