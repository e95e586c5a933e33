"""Every fault that a run could have is seen by the count, and only those."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.sim.chaos.count import Given, Kept, count, spans

BOARD = ("b-1", "0123456789abcdef")


def test_all_stored_once_is_good() -> None:
    counted = count({BOARD: Given(highest=5)}, {BOARD: Kept(samples=(1, 2, 4, 5), events=(3,))})
    assert counted.good
    assert (counted.given, counted.samples, counted.events, counted.lost) == (5, 4, 1, 0)


def test_what_is_neither_stored_nor_stated_is_lost() -> None:
    counted = count({BOARD: Given(highest=9)}, {BOARD: Kept(samples=(1, 2, 8), gaps=((3, 4),))})
    assert not counted.good
    assert counted.lost == 4
    assert counted.stated == 2
    assert counted.wrong[0].lost == ((5, 7), (9, 9))


def test_a_stream_that_never_arrived_is_lost_whole() -> None:
    assert count({BOARD: Given(highest=3)}, {}).lost == 3


def test_two_rows_of_one_number_are_a_duplicate_even_where_one_is_an_event() -> None:
    counted = count({BOARD: Given(highest=3)}, {BOARD: Kept(samples=(1, 2, 2, 3), events=(3,))})
    assert counted.wrong[0].duplicated == ((2, 3),)


def test_what_was_never_given_is_invented() -> None:
    counted = count(
        {BOARD: Given(highest=2)}, {BOARD: Kept(samples=(1, 2, 3)), ("b-1", "f" * 16): Kept(samples=(1,))}
    )
    assert counted.invented == 2


def test_what_still_waits_on_the_board_is_not_lost_and_not_good() -> None:
    counted = count({BOARD: Given(highest=4, waiting=(2, 3, 4))}, {BOARD: Kept(samples=(1, 2))})
    assert (counted.lost, counted.waiting, counted.good) == (0, 2, False)


numbers = st.sets(st.integers(1, 60))


@given(st.integers(0, 60), numbers, numbers, numbers)
def test_every_given_number_is_of_exactly_one_kind(
    highest: int, rows: set[int], dropped: set[int], left: set[int]
) -> None:
    kept = Kept(samples=tuple(rows), gaps=spans(dropped))
    counted = count({BOARD: Given(highest=highest, waiting=tuple(left))}, {BOARD: kept})
    arrived = {number for number in rows | dropped if number <= highest}
    assert len(arrived) + counted.lost + counted.waiting == highest
    assert counted.invented == len((rows | dropped) - arrived)
    assert counted.duplicated == 0


@given(numbers)
def test_spans_hold_the_same_numbers(found: set[int]) -> None:
    assert {n for first, last in spans(found) for n in range(first, last + 1)} == found
    assert all(a[1] + 1 < b[0] for a, b in zip(spans(found), spans(found)[1:], strict=False))
