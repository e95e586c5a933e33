"""The decision on a message's numbers, held against a simple model of a board that sends by go-back-N."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry.sequence import LARGEST, Decision, decide

numbers = st.lists(st.integers(1, 60), unique=True, max_size=8).map(sorted)
ranges = st.tuples(st.integers(1, 60), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def spans(pairs: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in pairs for number in range(first, last + 1)]


@given(st.integers(0, 40), numbers, st.lists(ranges, max_size=3), st.integers(0, 60))
def test_every_number_up_to_the_mark_is_taken_stated_or_broken_and_none_twice(
    high_water: int, sent: list[int], gaps: list[tuple[int, int]], acknowledged: int
) -> None:
    found = decide(high_water, sent, gaps=gaps, acknowledged=acknowledged)
    taken = [sent[position] for position in found.taken]
    accounted = taken + spans(list(found.gaps)) + (spans([found.broken]) if found.broken else [])
    assert sorted(accounted) == list(range(high_water + 1, found.high_water + 1))


@given(st.integers(0, 40), numbers, st.lists(ranges, max_size=3), st.integers(0, 60))
def test_what_can_be_taken_is_taken(
    high_water: int, sent: list[int], gaps: list[tuple[int, int]], acknowledged: int
) -> None:
    found = decide(high_water, sent, gaps=gaps, acknowledged=acknowledged)
    following = found.high_water + 1
    assert following not in sent
    assert following not in spans(gaps)
    assert found.hole == any(number > found.high_water for number in sent)
    assert found.duplicates == sum(number <= found.high_water for number in sent) - len(found.taken)


@given(st.integers(0, 40), numbers, st.lists(ranges, max_size=3), st.integers(0, 60))
def test_the_same_message_again_changes_nothing(
    high_water: int, sent: list[int], gaps: list[tuple[int, int]], acknowledged: int
) -> None:
    mark = decide(high_water, sent, gaps=gaps, acknowledged=acknowledged).high_water
    again = decide(mark, sent, gaps=gaps, acknowledged=acknowledged)
    assert (again.high_water, list(again.taken), list(again.gaps), again.broken) == (mark, [], [], None)


def test_a_gap_before_within_and_behind_the_items_is_stated_exactly() -> None:
    found = decide(2, [5, 8], gaps=[(3, 4), (6, 7), (9, 9)])
    assert found == Decision(9, [0, 1], 0, [(3, 4), (6, 7), (9, 9)], None, False)


def test_a_gap_that_was_stored_meanwhile_is_none() -> None:
    assert decide(5, [8], gaps=[(4, 7)]).gaps == [(6, 7)]


def test_a_hole_takes_nothing_behind_it() -> None:
    assert decide(2, [3, 5, 6]) == Decision(3, [0], 0, [], None, True)


def test_what_was_acknowledged_elsewhere_is_a_break() -> None:
    assert decide(0, [11], acknowledged=10) == Decision(11, [0], 0, [], (1, 10), False)


def test_the_largest_number_is_a_number() -> None:
    assert decide(LARGEST - 1, [LARGEST]).high_water == LARGEST
