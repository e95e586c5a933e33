"""Whether two subjects differ: the interval, and what is said of it."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bench.ratio import CONFIDENCE, FEWEST_ROUNDS, coverage, ratio

VALUES = st.lists(st.floats(0.1, 10), min_size=1, max_size=20)


@pytest.mark.parametrize(("rounds", "skipped"), [(1, 0), (5, 0), (6, 0), (9, 1), (12, 2)])
def test_the_coverage_is_that_of_all_ways_in_which_values_fall_beside_their_median(
    rounds: int, skipped: int
) -> None:
    sides = list(itertools.product((0, 1), repeat=rounds))
    held = sum(skipped < sum(above) < rounds - skipped for above in sides)

    assert coverage(rounds, skipped) == pytest.approx(held / len(sides))


def test_no_fewer_rounds_hold_the_median_with_confidence() -> None:
    assert coverage(FEWEST_ROUNDS, 0) >= CONFIDENCE > coverage(FEWEST_ROUNDS - 1, 0)


@settings(max_examples=40)
@given(VALUES)
def test_the_same_twice_is_no_difference(values: list[float]) -> None:
    found = ratio(values, values)

    assert found is not None
    assert (found.low, found.median, found.high) == (1, 1, 1)
    assert found.verdict == (
        "no difference seen" if len(values) >= FEWEST_ROUNDS else f"{len(values)} rounds are too few to tell"
    )


@settings(max_examples=40)
@given(VALUES, st.data())
def test_the_other_way_around_is_the_inverse(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.floats(0.1, 10), min_size=len(first), max_size=len(first)))
    one, other = ratio(first, second), ratio(second, first)

    assert one is not None
    assert other is not None
    assert math.isclose(one.low, 1 / other.high)
    assert math.isclose(one.high, 1 / other.low)


def test_a_difference_in_every_round_is_seen() -> None:
    found = ratio([10, 12, 9, 11, 30, 10], [20, 25, 17, 23, 50, 21])

    assert found is not None
    assert found.verdict == "more"
    assert ratio([20, 25, 17, 23, 50, 21], [10, 12, 9, 11, 30, 10]).verdict == "less"  # type: ignore[union-attr]


def test_what_one_of_them_could_not_tell_is_left_out() -> None:
    assert ratio([None, None], [1.0, 2.0]) is None
    found = ratio([1.0, None, 2.0], [2.0, 1.0])
    assert found is not None
    assert found.rounds == 1
