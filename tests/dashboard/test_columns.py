from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dashboard.columns import COLUMNS, Placed, passed, placed, sorted_rows
from edge.dashboard.condition import Condition, Level
from edge.dashboard.row import Row, by_severity

OK = Condition("ok", Level.GOOD)
numbers = st.none() | st.floats(0, 1e6)
rows = st.builds(
    Row,
    name=st.text("abcdefghij-", min_size=1, max_size=40),
    device=st.just("b-1"),
    condition=st.sampled_from(
        [OK, Condition("inconsistent", Level.BAD), Condition("unreachable", Level.DOUBT)]
    ),
    releases=st.lists(st.text("abc@1", min_size=1, max_size=40), max_size=3).map(tuple),
    requests_per_s=numbers,
    error_part=st.none() | st.floats(0, 1),
    p50_ms=numbers,
    p95_ms=numbers,
    seen_s=numbers,
    temperature_c=numbers,
    link=st.sampled_from([None, "up", "refused"]),
)


def keys(columns: tuple[Placed, ...]) -> list[str]:
    return [column.column.key for column in columns]


def sim(number: int, **fields: object) -> Row:
    return Row(
        **{
            "name": f"sim-{number}", "device": f"b-{number}", "condition": OK,
            "releases": ("digits@1",), **fields,
        }
    )  # fmt: skip


@given(st.lists(rows, max_size=5), st.integers(20, 250))
def test_columns_never_take_more_room_than_there_is(found: list[Row], width: int) -> None:
    columns = placed(found, width)
    ends = [column.start + column.width for column in columns]
    assert ends[-1] <= width
    assert all(later.start > end for end, later in zip(ends, columns[1:], strict=False))
    for column in columns:
        assert len(column.head(sorted_by=column.column.key, descending=True)) == column.width
        for row in found:
            assert len(column.cell(row)) == column.width


@given(st.lists(rows, max_size=5), st.integers(30, 200))
def test_more_room_never_hides_a_column(found: list[Row], width: int) -> None:
    assert set(keys(placed(found, width))) <= set(keys(placed(found, width + 1)))


@given(st.lists(rows, max_size=5), st.integers(28, 60))
def test_who_is_bad_is_shown_in_the_narrowest_terminal(found: list[Row], width: int) -> None:
    columns = placed(found, width)
    assert {"board", "state"} <= set(keys(columns))
    state = next(column for column in columns if column.column.key == "state")
    assert state.cell(sim(1, condition=Condition("unreachable", Level.DOUBT))).strip() == "? unreachable"


def test_eighty_letters_have_room_for_all_that_is_asked_first() -> None:
    least = [
        "board",
        "state",
        "release",
        "rate",
        "p50",
        "p95",
        "errors",
        "cpu",
        "memory",
        "temperature",
        "seen",
    ]
    assert keys(placed([sim(1), sim(2)], 78)) == least
    assert set(keys(placed([sim(1)], 118))) == {column.key for column in COLUMNS}


def test_the_column_that_sorts_shows_an_arrow_whatever_its_width() -> None:
    for column in placed([sim(1)], 78):
        key = column.column.key
        assert "↓" in column.head(sorted_by=key, descending=True)
        assert "↑" in column.head(sorted_by=key)
        assert "↓" not in column.head(sorted_by="other", descending=True)


@given(st.lists(rows, max_size=8), st.sampled_from([column.key for column in COLUMNS]), st.booleans())
def test_what_is_not_known_is_sorted_last(found: list[Row], key: str, descending: bool) -> None:
    ordered = sorted_rows(found, key, descending=descending)
    order = next(column.order for column in COLUMNS if column.key == key)
    known = [order(row) is not None for row in ordered]
    assert known == sorted(known, reverse=True)
    values = [order(row) for row in ordered if order(row) is not None]
    assert values == sorted(values, reverse=descending)
    assert sorted(map(id, ordered)) == sorted(map(id, found))


def test_the_worst_boards_come_first() -> None:
    levels = [Level.GOOD, Level.BAD, Level.NOTE, Level.DOUBT]
    ordered = by_severity(sim(n, condition=Condition("x", level)) for n, level in enumerate(levels))
    assert [row.condition.level for row in ordered] == sorted(levels)


@pytest.mark.parametrize(
    ("key", "fields", "text"),
    [
        ("p95", {"p95_ms": 0.0431}, "0.04"),
        ("p95", {"p95_ms": 3.7149}, "3.71"),
        ("p95", {"p95_ms": 41.24}, "41.2"),
        ("p95", {"p95_ms": 1234.5}, "1234"),
        ("p95", {}, "–"),
        ("errors", {"error_part": 0.0}, "0%"),
        ("errors", {"error_part": 0.0004}, "<0.1%"),
        ("errors", {"error_part": 0.0512}, "5.1%"),
        ("errors", {"error_part": 1.0}, "100%"),
        ("rate", {"requests_per_s": 19.96}, "20.0"),
        ("temperature", {"temperature_c": 51.5}, "52"),
        ("seen", {"seen_s": None}, "never"),
        ("release", {"releases": ("digits@1", "faces@3")}, "digits@1,faces@3"),
    ],
)
def test_numbers_are_shown_as_precisely_as_they_are_worth(
    key: str, fields: dict[str, object], text: str
) -> None:
    column = next(column for column in COLUMNS if column.key == key)
    assert column.text(sim(1, **fields)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "now"), (1.6, "2 s"), (59.0, "59 s"), (61, "1 min"), (119, "1 min"), (7200, "2 h"), (200_000, "2 d")],
)  # fmt: skip
def test_time_that_passed_is_told_shortly(seconds: float, text: str) -> None:
    assert passed(seconds) == text
