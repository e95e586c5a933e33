"""Percentiles of load tests, against numbers that are sorted."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import DocumentInvalid
from agent.contract.load import Latencies, bucket, counted, joined

NANOSECONDS = st.integers(0, 10**12)


def latencies(values: list[int]) -> Latencies:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket(value)] = counts.get(bucket(value), 0) + 1
    return counted(counts)


@settings(max_examples=40)
@given(NANOSECONDS)
def test_a_bucket_is_never_above_its_latency_and_less_than_a_thousandth_below(value: int) -> None:
    assert value * (1 - 1 / 1024) <= bucket(value) <= value
    assert bucket(bucket(value)) == bucket(value)


@settings(max_examples=40)
@given(st.lists(NANOSECONDS, min_size=1), st.sampled_from([50, 90, 95, 99, 100]))
def test_a_percentile_is_the_least_latency_with_that_many_at_or_below_it(
    values: list[int], percent: int
) -> None:
    rank = max(1, math.ceil(percent * len(values) / 100))

    assert latencies(values).quantile_ms(percent / 100) == bucket(sorted(values)[rank - 1]) / 1e6


@settings(max_examples=40)
@given(st.lists(NANOSECONDS, max_size=20), st.lists(NANOSECONDS, max_size=20))
def test_windows_put_together_count_as_one(first: list[int], second: list[int]) -> None:
    assert joined([latencies(first), latencies(second)]) == latencies(first + second)


def test_no_latency_has_no_percentile() -> None:
    assert Latencies().quantile_ms(0.5) is None
    assert Latencies().mean_ms() is None


@pytest.mark.parametrize("counts", [{"-1": 1}, {"2049": 1}, {"1": 0}, {"x": 1}, {"1" * 30: 1}, {"01": 1}])
def test_counts_that_no_board_writes_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(DocumentInvalid):
        Latencies(counts)
