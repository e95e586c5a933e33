"""Tables of `converters.md`: the recipes as they are, and the matrix of conversions as the tests measured it.

The rule: a number of the matrix stands in `measured/converters.json`, which the cells' tests write
(`pytest -m bed tests/conversion/test_cells.py --record-cells`); nothing is entered by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.frameworks.pins import frameworks
from converters.recipe import Scheme, built_in
from converters.source import LABELS, SourceFormat

MEASURED = Path(__file__).parent / "measured" / "converters.json"
FORMATS = {"tflite": "TFLite", "onnx": "ONNX"}
ENDINGS = {
    SourceFormat.KERAS: "`.keras`",
    SourceFormat.KERAS_H5: "`.h5`",
    SourceFormat.SAVED_MODEL: "a folder",
    SourceFormat.ONNX: "`.onnx`",
    SourceFormat.TFLITE: "`.tflite`, float",
    SourceFormat.TORCH_EXPORT: "`.pt2`",
    SourceFormat.TORCHSCRIPT: "`.pt`, `--trust-code`",
    SourceFormat.SKOPS: "`.skops`",
    SourceFormat.PICKLE: "`.joblib`, `--trust-pickle`",
}
ACTIVATIONS = {"board": "uint8 (x86-64) or int8 (arm64)", "dynamic": "dynamic int8"}
Row = Mapping[str, Any]


def recipes_table() -> str:
    """One row a recipe: what it does in each format."""
    rows = ["| recipe | | TFLite | ONNX | `--calibration` |", "|---|---|---|---|---|"]
    for name, recipe in built_in().items():
        schemes = (recipe.tflite, recipe.onnx)
        cells = (_scheme(scheme) if recipe.converts else "as given" for scheme in schemes)
        needed = "needed" if any(scheme and scheme.calibrated for scheme in schemes) else ""
        rows.append(f"| `{name}` | {recipe.title} | {' | '.join(cells)} | {needed} |")
    return "\n".join(rows)


def frameworks_table() -> str:
    """One row an environment."""
    rows = ["| | for | Python | main package |", "|---|---|---|---|"]
    for name, framework in frameworks().items():
        pythons = ", ".join(framework.pythons)
        rows.append(
            f"| `edge frameworks add {name}` | {framework.title} | {pythons} | {framework.packages[0]} |"
        )
    return "\n".join(rows)


def ways_table() -> str:
    """One row a kind of model: how many of its networks become what."""
    rows = ["| in | | TFLite out | ONNX out |", "|---|---|---|---|"]
    for source in SourceFormat:
        ways = (_way(_cells(source, kind)) for kind in FORMATS)
        rows.append(f"| {LABELS[source]} | {ENDINGS[source]} | {' | '.join(ways)} |")
    return "\n".join(rows)


def matrix() -> str:
    """A table for each way that there is: recipes by networks."""
    parts = []
    for source in SourceFormat:
        for kind, title in FORMATS.items():
            rows = _cells(source, kind)
            if any("accuracy" in row for row in rows):
                parts += [f"### {LABELS[source]} to {title}", "", *_table(rows), ""]
    return "\n".join(parts).rstrip()


def _scheme(scheme: Scheme | None) -> str:
    """In words."""
    if scheme is None:
        return "–"
    integers = scheme.weights.startswith("int")
    scales = f" by {f'blocks of {scheme.block}' if scheme.block else scheme.granularity}" if integers else ""
    parts = [f"{scheme.weights} weights{scales}"]
    if scheme.fully_connected:
        parts.append(f"{scheme.fully_connected} in fully connected layers")
    if scheme.activations != "float32":
        parts.append(f"{ACTIVATIONS.get(scheme.activations, scheme.activations)} activations")
    if scheme.inputs != "float32":
        parts.append(f"{scheme.inputs} in and out")
    return ", ".join(parts)


def _cells(source: SourceFormat, kind: str) -> list[Row]:
    rows: list[Row] = json.loads(MEASURED.read_text())
    return [row for row in rows if (row["source"], row["format"]) == (source.value, kind)]


def _way(rows: Sequence[Row]) -> str:
    """Like `6 of 6`, or why there is none; a test of the page fails where nothing was measured."""
    floats = [row for row in rows if row["recipe"] == "fp32"]
    made = sum("accuracy" in row for row in floats)
    if not floats:
        return "not recorded yet"
    return f"{made} of {len(floats)}" if made else f"no: {floats[0]['reason']}"


def _table(rows: Sequence[Row]) -> list[str]:
    """Recipes by networks, with the reasons of refusals below."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    reasons = list(dict.fromkeys(row["reason"] for row in rows if "reason" in row))
    cells = {(row["recipe"], row["network"]): _figures(row, reasons) for row in rows}
    given = {row["network"]: row["float_accuracy"] for row in rows if "float_accuracy" in row}
    lines = [f"| | {' | '.join(networks)} |", "|---|" + "---|" * len(networks)]
    lines.append(f"| *as given* | {' | '.join(_percent(given.get(network)) for network in networks)} |")
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        found = " | ".join(cells.get((recipe, network), "–") for network in networks)
        lines.append(f"| `{recipe}` | {found} |")
    return [*lines, *(f"\n({place}) {reason}" for place, reason in enumerate(reasons, 1))]


def _figures(row: Row, reasons: Sequence[str]) -> str:
    if "reason" in row:
        return f"no ({reasons.index(row['reason']) + 1})"
    return f"{_percent(row['accuracy'])}, {row['size_bytes'] / 1000:.1f} kB"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
