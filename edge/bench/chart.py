"""A small chart as SVG: lines over two axes, a legend, nothing that has to be fetched.

The rule: colour is never the only sign, so each line has a dash of its own too; text is text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 430
LEFT, RIGHT, BOTTOM = 64, 24, 52
ROW = 18
"""Height of a line of the legend."""
STYLES = (
    ("#0072b2", ""), ("#d55e00", "7 3"), ("#009e73", "2 3"), ("#cc79a7", "9 3 2 3"),
    ("#56b4e9", "4 2"), ("#e69f00", "1 2"),
)  # fmt: skip
"""Colours that can be told apart without red and green, and dashes."""

Scale = Callable[[float], float]
"""A value to a place, 0 to 1."""


@dataclass(frozen=True)
class Axis:
    """One axis. `ticks`: values and their words."""

    title: str
    scale: Scale
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """One line, by its points; `marked` ones are drawn as dots too."""

    title: str
    points: Sequence[tuple[float, float]]
    marked: bool = False


@dataclass(frozen=True)
class Limit:
    """A horizontal line across the chart."""

    title: str
    value: float


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis for values above 0, with ticks at 1, 2 and 5 of each power of ten."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = _tick_below(min(positive)), _tick_above(max(positive))
    if low == high:
        high = _tick_above(high * 1.01)
    span = math.log(high / low)
    ticks = [value for value in _ticks(low) if low <= value <= high * 1.0001]
    if len(ticks) > 10:
        ticks = [value for value in ticks if f"{value:e}"[0] == "1"]
    return Axis(
        title,
        lambda value: math.log(max(value, low) / low) / span,
        [(value, f"{value:g}") for value in ticks],
    )


def linear_axis(title: str, highest: float) -> Axis:
    """An axis from 0."""
    step = _tick_above(highest / 6)
    last = math.ceil(highest / step) * step
    ticks = [step * number for number in range(round(last / step) + 1)]
    return Axis(title, lambda value: value / last, [(value, f"{value:g}") for value in ticks])


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], limits: Sequence[Limit] = ()) -> str:
    """The chart, as the text of an SVG file."""
    top = 34 + ROW * len(lines)
    height = HEIGHT + ROW * len(lines)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, height - top - BOTTOM

    def at_x(value: float) -> float:
        return LEFT + inner_width * x.scale(value)

    def at_y(value: float) -> float:
        return top + inner_height * (1 - y.scale(value))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 20, title, ' font-size="14" font-weight="bold"'),
    ]
    for value, words in x.ticks:
        parts.append(_stroke(at_x(value), top, at_x(value), top + inner_height))
        parts.append(_text(at_x(value), height - BOTTOM + 18, words, ' text-anchor="middle"'))
    for value, words in y.ticks:
        parts.append(_stroke(LEFT, at_y(value), WIDTH - RIGHT, at_y(value)))
        parts.append(_text(LEFT - 8, at_y(value) + 4, words, ' text-anchor="end"'))
    parts.append(_text(LEFT + inner_width / 2, height - 12, x.title, ' text-anchor="middle"'))
    middle = top + inner_height / 2
    parts.append(_text(16, middle, y.title, f' text-anchor="middle" transform="rotate(-90 16 {middle:.1f})"'))
    for limit in limits:
        parts.append(_stroke(LEFT, at_y(limit.value), WIDTH - RIGHT, at_y(limit.value), "#222", 1.2))
        parts.append(_text(LEFT + 6, at_y(limit.value) - 5, limit.title))
    for number, line in enumerate(lines):
        points = [(at_x(across), at_y(up)) for across, up in line.points]
        parts += _drawn(line, points, STYLES[number % len(STYLES)], 34 + ROW * number)
    return "\n".join([*parts, "</svg>", ""])


def _drawn(
    line: Line, points: Sequence[tuple[float, float]], style: tuple[str, str], row: float
) -> list[str]:
    """A line, and its row of the legend."""
    colour, dash = style
    look = f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
    parts = [
        f'<polyline points="{path}" {look}/>',
        f'<path d="M{LEFT} {row + 4:g}h30" {look}/>',
        _text(LEFT + 38, row + 8, line.title),
    ]
    if line.marked:
        parts += [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>' for across, up in points]
    return parts


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str = "#ddd", width: float = 1) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'


def _ticks(low: float) -> list[float]:
    power = math.floor(math.log10(low))
    return [float(f"{digit}e{power + more}") for more in range(12) for digit in (1, 2, 5)]


def _tick_below(value: float) -> float:
    return max(tick for tick in _ticks(value) if tick <= value)


def _tick_above(value: float) -> float:
    return min(tick for tick in _ticks(value) if tick >= value)
