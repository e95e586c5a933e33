"""When requests of an open loop are due."""

import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.arrivals import ARRIVALS, due_times

RATES = st.floats(0.1, 300)
SECONDS = st.floats(0.01, 3)


@settings(max_examples=40)
@given(RATES, SECONDS, st.sampled_from(ARRIVALS))
def test_due_times_rise_within_the_window(rate: float, seconds: float, arrivals: str) -> None:
    due = list(due_times(rate, seconds, arrivals))

    assert due == sorted(due)
    assert all(0 <= time <= seconds for time in due)


@settings(max_examples=40)
@given(RATES, SECONDS, st.sampled_from(ARRIVALS))
def test_there_are_as_many_as_the_rate_says(rate: float, seconds: float, arrivals: str) -> None:
    assert len(list(due_times(rate, seconds, arrivals))) == max(1, round(rate * seconds))


@pytest.mark.parametrize("rate", [20.0, 1000.0])
def test_poisson_arrivals_have_the_rate_and_the_spread_of_clients_that_do_not_know_of_each_other(
    rate: float,
) -> None:
    due = list(due_times(rate, 20_000 / rate, "poisson"))
    gaps = [after - before for before, after in itertools.pairwise(due)]

    assert statistics.mean(gaps) == pytest.approx(1 / rate, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / rate, rel=0.03)


def test_two_servers_get_the_same_load() -> None:
    assert list(due_times(50, 2, "poisson")) == list(due_times(50, 2, "poisson"))
