"""Drawings of the report as inline SVG: candidates by size, accuracy and latency; layers; the confusion matrix.

The rule: a drawing has no colours of its own: they are the page's, light and dark. Each mark says in a title what the
table says in numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 400, 300, 40, 60
LEAST_RADIUS, MOST_RADIUS = 4.0, 14.0
CHARACTER, LINE = 7.5, 13.0
"""Width of a letter and height of a line of a drawing's text, a little more than they take."""
MOST_CLASSES = 40
"""A larger confusion matrix can't be read."""

MOST_LOST = 10.0
"""Points; what lost more is drawn at the lower edge."""
STEPS = (1, -1, 2, -2, 3, -3, 4, -4)
"""Lines below a circle's middle at which its name may stand where there is no room beside, above or below it."""

Circle = tuple[float, float, float]
"""Its middle, to the right and down, and its radius."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def pareto(rows: Sequence[Mapping[str, Any]]) -> str:
    """Candidates: size to the right (logarithmic), accuracy lost downwards, the area of a circle its latency.

    Args:
        rows: of `report.json`'s `candidates`.
    """
    drawn = [row for row in rows if row["size_bytes"] and _lost(row) is not None]
    if not drawn:
        return ""
    smallest = min(row["size_bytes"] for row in drawn) / 1.3
    largest = max(row["size_bytes"] for row in drawn) * 1.3
    losses = [_lost(row) or 0.0 for row in drawn]
    worst = min(max([*losses, 1.0]), MOST_LOST)
    most = worst * 1.15
    least = min([*losses, 0.0]) - 0.1 * most
    slowest = max((_latency(row) or 0.0 for row in drawn), default=0.0)

    def down(loss: float) -> float:
        return 20 + (min(loss, most) - least) / (most - least) * (HEIGHT - BOTTOM - 20)

    circles: list[Circle] = []
    for row, loss in zip(drawn, losses, strict=True):
        x = LEFT + math.log(row["size_bytes"] / smallest) / math.log(largest / smallest) * (WIDTH - LEFT - 20)
        latency = _latency(row)
        share = math.sqrt(latency / slowest) if latency and slowest else 0.4
        circles.append((x, down(loss), LEAST_RADIUS + share * (MOST_RADIUS - LEAST_RADIUS)))
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y, radius in circles]
    marks: list[str] = []
    for row, loss, circle in zip(drawn, losses, circles, strict=True):
        latency = _latency(row)
        kind = "taken" if row["chosen"] else "fits" if not row["reason"] else "misses"
        told = f"{row['recipe']}: {row['size_bytes']:,} bytes, {loss:+.2f} points lost"
        told += f", {latency:.3f} ms" if latency else ""
        left, base = _place(row["recipe"], circle, taken)
        x, y, radius = circle
        marks.append(
            f'<g class="{kind}"><title>{escape(told)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
            f'<text x="{left:.1f}" y="{base:.1f}">{escape(row["recipe"])}</text></g>'
        )
    axes = (
        f'<path class="axis" d="M{LEFT} 10V{HEIGHT - BOTTOM}H{WIDTH - 10}"/>'
        f'<path class="zero" d="M{LEFT} {down(0):.1f}H{WIDTH - 10}"/>'
        f'<text x="{LEFT - 6}" y="{down(0) + 4:.1f}" text-anchor="end">0</text>'
        f'<text x="{LEFT - 6}" y="{down(worst) + 4:.1f}" text-anchor="end">{worst:.2g}</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 36}" text-anchor="end">'
        f"size →, {smallest / 1000:,.0f} to {largest / 1000:,.0f} kB, logarithmic</text>"
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 16}" text-anchor="end">points lost ↓, area: latency</text>'
    )
    return _svg(WIDTH, HEIGHT, "Candidates by size and accuracy lost", axes + "".join(marks))


def _place(name: str, circle: Circle, taken: list[Box]) -> tuple[float, float]:
    """Where a circle's name begins and stands: near it, over no circle and no other name; it is entered in `taken`."""
    x, y, radius = circle
    width = len(name) * CHARACTER
    right, left, middle = x + radius + 4, x - radius - 4 - width, x - width / 2
    places = [(right, y + 4), (left, y + 4), (middle, y - radius - 5), (middle, y + radius + LINE)]
    places += [(at, y + 4 + step * LINE) for step in STEPS for at in (right, left)]
    boxes = [(at, base - LINE + 3, at + width, base + 3) for at, base in places]
    inside = [
        box for box in boxes if box[0] > LEFT and box[2] < WIDTH and box[1] > 0 and box[3] < HEIGHT - BOTTOM
    ]
    free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
    found = (free or inside or boxes)[0]
    taken.append(found)
    return found[0], found[3] - 3


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def layers(found: Sequence[Mapping[str, Any]]) -> str:
    """SQNR of the outputs with each layer quantized alone, the worst first.

    Args:
        found: of `report.json`'s `layers`.
    """
    drawn = [layer for layer in found if layer.get("sqnr_db") is not None][:30]
    if not drawn:
        return ""
    most = max(max(layer["sqnr_db"] for layer in drawn), 1.0)
    bars = []
    for index, layer in enumerate(drawn):
        y, width = 20 + 44 * index, max(layer["sqnr_db"], 0.0) / most * 320
        name = layer["name"].partition(";")[0]
        shown = name if len(name) <= 48 else f"…{name[-47:]}"
        bars.append(
            f"<g><title>{escape(layer['name'])}, {escape(layer['kind'])}</title>"
            f'<text x="0" y="{y - 5}">{escape(shown)}</text>'
            f'<rect class="bar" x="0" y="{y}" width="{width:.1f}" height="16"/>'
            f'<text x="{width + 6:.1f}" y="{y + 13}">{layer["sqnr_db"]:.1f} dB</text></g>'
        )
    return _svg(WIDTH, 8 + 44 * len(drawn), "What each layer loses", "".join(bars))


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Classes that were true, downwards, against those that were answered.

    Args:
        matrix: counts, `[true][answered]`.
        labels: one a class, or none.
    """
    count = len(matrix)
    if not 1 < count <= MOST_CLASSES:
        return ""
    cell, edge = 340 / count, 56
    squares = []
    for true, row in enumerate(matrix):
        total = max(sum(row), 1)
        name = escape((labels[true] if labels else str(true))[:10])
        middle = edge + (true + 0.6) * cell
        squares.append(f'<text x="{edge - 6}" y="{middle:.1f}" text-anchor="end">{name}</text>')
        squares.append(
            f'<text x="{edge + (true + 0.5) * cell:.1f}" y="{edge - 8}" text-anchor="middle">{name}</text>'
        )
        for answered, number in enumerate(row):
            if not number:
                continue
            x, y = edge + answered * cell, edge + true * cell
            kind = "right" if true == answered else "wrong"
            strength = 0.15 + 0.85 * number / total
            squares.append(
                f'<rect class="{kind}" style="fill-opacity:{strength:.2f}" x="{x:.1f}" y="{y:.1f}"'
                f' width="{cell - 1:.1f}" height="{cell - 1:.1f}"/>'
            )
            if count <= 12:
                dark = ' class="inside"' if 2 * number > total else ""
                squares.append(
                    f'<text{dark} x="{x + cell / 2:.1f}" y="{y + cell / 2 + 5:.1f}" text-anchor="middle">'
                    f"{number}</text>"
                )
    side = edge + 344
    return _svg(side, side, "Confusion matrix", "".join(squares))


def _svg(width: int, height: int, title: str, inner: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{inner}</svg>"
    )


def _lost(row: Mapping[str, Any]) -> float | None:
    if row["drop"] is not None:
        return float(row["drop"]["drop_points"])
    return None if row["agreement"] is None else 100.0 * (1.0 - float(row["agreement"]))


def _latency(row: Mapping[str, Any]) -> float | None:
    found = row["board_p50_ms"] if row["board_p50_ms"] is not None else row["p50_ms"]
    return None if found is None else float(found)
