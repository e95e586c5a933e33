"""The cells of the matrix: source × network × format × recipe, and where their figures are kept.

The rule: this is the one definition. `test_cells.py` measures each of them, `docs/converters.md` shows what it found,
and `tests/docs/test_converters_page.py` checks that none is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.contract.manifest import ModelFormat
from converters.recipe import built_in
from converters.source import SourceFormat

FILE = Path(__file__).parents[2] / "docs" / "measured" / "converters.json"
TFLITE, ONNX = ModelFormat.TFLITE, ModelFormat.ONNX
PICTURES = ("CNN", "depthwise CNN", "ResNet")
NETWORKS = (*PICTURES, "LSTM", "GRU", "transformer")
ESTIMATORS = {
    SourceFormat.SKOPS: ("pipeline", "forest", "mlp", "svc"),
    SourceFormat.PICKLE: ("forest",),
}
"""What scikit-learn has instead of networks."""
BASIC = ("fp32", "int8")
EVERY = {
    TFLITE: tuple(name for name, recipe in built_in().items() if recipe.tflite),
    ONNX: tuple(name for name, recipe in built_in().items() if recipe.onnx),
}


@dataclass(frozen=True)
class Cell:
    """One combination."""

    source: SourceFormat
    network: str
    format: ModelFormat
    recipe: str

    @property
    def key(self) -> str:
        """Names its target, and the test."""
        return f"{self.format.value}-{self.recipe}"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a test found.

    Attributes:
        float_accuracy: share of 900 held-out digits that the given model has right; None where it was refused.
        accuracy: of the artifact, run by the engine of its format.
        size_bytes: of the artifact.
        reason: why there is no artifact; empty where there is one.
    """

    float_accuracy: float | None = None
    accuracy: float | None = None
    size_bytes: int | None = None
    reason: str = ""


def recipes(source: SourceFormat, kind: ModelFormat) -> tuple[str, ...]:
    """Every recipe, where it is the recipe that decides; two, where it is the way from the source."""
    if source is SourceFormat.KERAS or (source.value == kind.value):
        return EVERY[kind]
    return BASIC


def cells() -> Iterator[Cell]:
    """All of them."""
    for source in SourceFormat:
        for network in ESTIMATORS.get(source, NETWORKS):
            for kind in (TFLITE, ONNX):
                for recipe in recipes(source, kind):
                    yield Cell(source, network, kind, recipe)


def read() -> Mapping[Cell, Figures]:
    """What was recorded last."""
    if not FILE.exists():
        return {}
    found = {}
    for row in json.loads(FILE.read_text()):
        cell = Cell(
            SourceFormat(row.pop("source")),
            row.pop("network"),
            ModelFormat(row.pop("format")),
            row.pop("recipe"),
        )
        found[cell] = Figures(**row)
    return found


def write(found: Mapping[Cell, Figures]) -> None:
    """Enter what was found now, in the order of the cells; the rest stays, but for what is no cell any more."""
    known = {**read(), **found}
    lines = [
        json.dumps(
            asdict(cell)
            | {name: value for name, value in asdict(known[cell]).items() if value not in (None, "")}
        )
        for cell in cells()
        if cell in known
    ]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n")
