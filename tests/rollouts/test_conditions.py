"""Thresholds are read at the door or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.errors import PlanInvalid
from edge.rollouts.conditions import Amount, Conditions, read_amount, read_conditions, read_patience
from edge.rollouts.plan import Patience

amounts = st.one_of(
    st.builds(Amount, st.integers(0, 10**6).map(float)),
    st.builds(Amount, st.integers(0, 100).map(float), st.just(True)),
)


def test_what_is_not_given_has_its_default() -> None:
    assert read_conditions({}) == Conditions()
    assert read_conditions({"max_slowdown": "3"}).max_slowdown == 3.0


@given(amounts, st.floats(0, 1000), st.floats(0.01, 100), st.integers(0, 10**6))
def test_conditions_come_back_from_their_texts(
    amount: Amount, dwell_s: float, slowdown: float, requests: int
) -> None:
    conditions = Conditions(max_failed=amount, dwell_s=dwell_s, max_slowdown=slowdown, min_requests=requests)
    assert read_conditions(conditions.texts()) == conditions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_failed", "ten"),
        ("max_failed", "-1"),
        ("max_failed", "1.5"),
        ("max_failed", "101%"),
        ("max_failed", ""),
        ("max_failed", "%"),
        ("max_failed", "nan"),
        ("max_failed", "1e3"),
        ("max_failed", "١"),
        ("max_silent", "5 %"),
        ("min_boards", "0"),
        ("min_boards", "0%"),
        ("min_requests", "1.5"),
        ("dwell_s", "nan"),
        ("dwell_s", "inf"),
        ("dwell_s", "-1"),
        ("silence_s", "0"),
        ("max_slowdown", "0"),
        ("max_slowdown", "fast"),
        ("max_error_increase", "1.1"),
        ("max_sloth", "1"),
    ],
)
def test_a_threshold_that_cant_be_read_is_an_error_that_names_it(name: str, text: str) -> None:
    with pytest.raises(PlanInvalid) as found:
        read_conditions({name: text})
    assert name in str(found.value)


@pytest.mark.parametrize("name", ["reach_s", "hold_s"])
@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e99", "", "long"])
def test_a_wait_that_would_never_end_is_an_error_at_the_door(name: str, text: str) -> None:
    with pytest.raises(PlanInvalid, match=name):
        read_patience({name: text})
    assert read_patience({name: "3"}) == Patience(**{name: 3.0})


def test_parts_of_a_board_are_none_for_a_budget_and_a_whole_one_for_a_minimum() -> None:
    amount = read_amount("10%", what="--max-failed")
    assert [amount.at_most(total) for total in (0, 1, 9, 10, 19, 20)] == [0, 0, 0, 1, 1, 2]
    assert [amount.at_least(total) for total in (0, 1, 9, 10, 11, 20)] == [0, 1, 1, 1, 2, 2]


@given(st.integers(0, 100), st.integers(0, 10**6))
def test_a_percentage_never_gives_more_than_there_are(percent: int, total: int) -> None:
    amount = Amount(percent, True)
    assert 0 <= amount.at_most(total) <= amount.at_least(total) <= total
    assert amount.at_most(total) == percent * total // 100
