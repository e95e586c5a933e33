"""The pictures: whole SVG, everything inside, every line told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.load import LoadReport, bucket, counted
from edge.bench.picture import picture
from edge.bench.rounds import Series
from edge.bench.window import Window

TITLE = "digits@1 & <two>"
NANOSECONDS = st.lists(st.integers(0, 10**11), min_size=1, max_size=30)


def series(nanoseconds: list[int], rate: float | None = None) -> Series:
    counts: dict[int, int] = {}
    for latency in nanoseconds:
        counts[bucket(latency)] = counts.get(bucket(latency), 0) + 1
    found = LoadReport(
        model="digits", version="1", engine="", way="json", warm_up_s=0, seconds=1, connections=1, request_bytes=1,
        requests=len(nanoseconds), errors={}, latencies=counted(counts), generator_cpu_s=0, sent=len(nanoseconds),
    )  # fmt: skip
    return Series(title=TITLE, window=Window(rate_per_s=rate), reports=(found,))


def drawn(text: str) -> ElementTree.Element:
    """The picture, after a look at all its places."""
    root = ElementTree.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = [
        place
        for line in root.findall("{*}polyline")
        for place in re.findall(r"([-\d.]+),([-\d.]+)", line.attrib["points"])
    ]
    assert places
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)
    return root


@settings(max_examples=40)
@given(NANOSECONDS)
def test_percentiles_of_any_latencies_are_drawn(nanoseconds: list[int]) -> None:
    root = drawn(picture([series(nanoseconds)], 20.0))

    words = [text.text for text in root.findall("{*}text")]
    assert TITLE in words
    assert "p95 budget 20 ms" in words


@settings(max_examples=40)
@given(st.lists(NANOSECONDS, min_size=2, max_size=5))
def test_latency_against_any_rates_is_drawn(windows: list[list[int]]) -> None:
    root = drawn(
        picture([series(window, 10.0 * (number + 1)) for number, window in enumerate(windows)], None)
    )

    assert [text.text for text in root.findall("{*}text") if text.text and TITLE in text.text] == [
        f"{TITLE}, p{percent}" for percent in (50, 95, 99)
    ]
    assert len(root.findall("{*}circle")) == 3 * len(windows)


def test_a_percentile_lies_where_its_mark_is() -> None:
    """Of 1000 latencies of 1 ms and 10 of 100 ms, the curve rises between 99 % and 99.9 %."""
    root = drawn(picture([series([10**6] * 1000 + [10**8] * 10)], None))

    (line,) = root.findall("{*}polyline")
    points = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    marks = {text.text: float(text.attrib["x"]) for text in root.findall("{*}text")}
    heights = {round(y) for _, y in points}
    assert len(heights) == 2
    before = max(x for x, y in points if y == max(up for _, up in points))
    assert marks["99%"] <= before < marks["99.9%"]
    assert before == pytest.approx(marks["99%"], abs=3)
