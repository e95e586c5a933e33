"""The report's drawing of candidates: each name can be read, and stands by its own circle."""

from __future__ import annotations

import itertools
import re

from edge.conversion.plot import CHARACTER, HEIGHT, LINE, WIDTH, pareto

DIGITS = (
    ("fp32", 157_200, 0.0, 0.011),
    ("fp16", 81_900, 0.0, 0.011),
    ("int8-dynamic", 44_100, 0.0, 0.011),
    ("int8", 45_200, -0.11, 0.011),
    ("int16x8", 46_900, 0.0, 0.095),
    ("int8-int4", 28_500, 0.89, 0.011),
    ("int4", 25_000, 0.89, 0.026),
    ("int4-block32", 28_900, 1.0, 0.022),
)
"""Name, bytes, points lost, milliseconds: what the quickstart's conversion found."""
MARK = re.compile(
    r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"/><text x="([-\d.]+)" y="([\d.]+)">([^<]+)</text>'
)


def drawing() -> str:
    return pareto(
        [
            {
                "recipe": name,
                "size_bytes": size_bytes,
                "drop": {"drop_points": points},
                "board_p50_ms": None,
                "p50_ms": p50_ms,
                "chosen": name == "int8-dynamic",
                "reason": "",
            }
            for name, size_bytes, points, p50_ms in DIGITS
        ]
    )


def test_each_name_stands_over_no_circle_and_no_other_name() -> None:
    marks = [(*map(float, mark[:5]), mark[5]) for mark in MARK.findall(drawing())]
    assert [mark[5] for mark in marks] == [row[0] for row in DIGITS]
    circles = [(x - r, y - r, x + r, y + r) for x, y, r, *_ in marks]
    names = [(at, base - LINE + 3, at + len(name) * CHARACTER, base) for *_, at, base, name in marks]
    pairs = [*itertools.combinations(names, 2), *itertools.product(names, circles)]
    assert not [
        (one, other)
        for one, other in pairs
        if one[0] < other[2] - 0.2
        and other[0] < one[2] - 0.2
        and one[1] < other[3] - 0.2
        and other[1] < one[3] - 0.2
    ]
    assert all(
        left >= 0 and right <= WIDTH and top >= 0 and bottom <= HEIGHT for left, top, right, bottom in names
    )


def test_what_stands_at_an_axis_is_what_is_drawn_there() -> None:
    svg = drawing()
    worst = next(float(mark[1]) for mark in MARK.findall(svg) if mark[5] == "int4-block32")
    label = re.search(r'y="([\d.]+)" text-anchor="end">1</text>', svg)
    assert label is not None
    assert abs(float(label[1]) - 4 - worst) < 0.2
