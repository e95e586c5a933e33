"""Tables of `converters.md`: recipes by the versions of each engine, as they were measured.

The rule: numbers are those of `converters/capability/*.toml`, which `python -m benchmarks.capabilities` writes.
Versions that are alike for every recipe share a column.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.contract.manifest import EngineName
from converters.capability.measured import Engine, engine

TITLES = {
    EngineName.TFLITE_RUNTIME: "tflite-runtime",
    EngineName.LITERT: "LiteRT",
    EngineName.ONNXRUNTIME: "ONNX Runtime",
}


def versions_tables() -> str:
    """A table for each engine."""
    return "\n\n".join(_table(title, engine(name)) for name, title in TITLES.items())


def limits_table() -> str:
    """The newest opset and IR by version of ONNX Runtime."""
    found = engine(EngineName.ONNXRUNTIME)
    rows = ["| ONNX Runtime | newest opset | newest IR |", "|---|---|---|"]
    before = None
    for version in found.versions:
        newest = tuple(_newest(found.listed[name], version) for name in ("opset", "ir"))
        if newest != before:
            rows.append(f"| {version} | {newest[0]} | {newest[1]} |")
        before = newest
    return "\n".join(rows)


def _newest(firsts: Mapping[int, str], version: str) -> int:
    """The version of an opset or IR before the first one that comes later."""
    order = [*engine(EngineName.ONNXRUNTIME).versions, "never"]
    return min(number for number, first in firsts.items() if order.index(first) > order.index(version)) - 1


def _table(title: str, found: Engine) -> str:
    columns: list[tuple[str, str, list[str]]] = []
    for version in found.versions:
        cells = [_cell(counts[version]) for counts in found.recipes.values()]
        if columns and columns[-1][2] == cells:
            columns[-1] = (columns[-1][0], version, cells)
        else:
            columns.append((version, version, cells))
    heads = [
        _short(first) if first == last else f"{_short(first)} to {_short(last)}" for first, last, _ in columns
    ]
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for place, recipe in enumerate(found.recipes):
        lines.append(f"| `{recipe}` | {' | '.join(cells[place] for _, _, cells in columns)} |")
    return "\n".join(lines)


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _cell(counts: Mapping[str, int]) -> str:
    """Like `6 of 6`, and what became of the others."""
    right = counts.get("right", 0)
    others = [f"{count} {kind}" for kind, count in counts.items() if kind != "right"]
    return f"{right} of {sum(counts.values())}" + (f" ({', '.join(others)})" if others else "")
