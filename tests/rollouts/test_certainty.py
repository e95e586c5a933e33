"""The estimates that the gate decides by, against what they should be."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.sketch import RELATIVE_ERROR, Sketch, of
from edge.rollouts import certainty
from edge.rollouts.comparison import LEAST_RUNS, location

CHANCE = 0.05


def test_looking_after_each_request_rarely_finds_a_difference_where_there_is_none() -> None:
    source, paths, found = random.Random(1), 400, 0
    for _ in range(paths):
        hits = 0
        for trials in range(1, 151):
            hits += source.random() < 0.25
            if certainty.of_chance(hits, trials, 0.25) >= -math.log(CHANCE):
                found += 1
                break
    assert found <= 2 * CHANCE * paths


def test_looking_after_each_run_rarely_finds_a_slowdown_where_there_is_none() -> None:
    source, paths, found = random.Random(2), 400, 0
    for _ in range(paths):
        total = 0.0
        for runs in range(1, 151):
            total += source.gauss(0, 0.3)
            if certainty.of_excess(total / runs, 0.3 / math.sqrt(runs)) >= -math.log(CHANCE):
                found += 1
                break
    assert found <= 1.5 * CHANCE * paths


@given(st.integers(0, 60), st.integers(1, 10**6), st.integers(0, 60), st.integers(1, 10**6))
def test_one_more_failure_is_never_weaker_evidence(failed: int, ours: int, others: int, theirs: int) -> None:
    now = certainty.of_more_often(failed, ours + failed + 1, others, theirs + others)
    more = certainty.of_more_often(failed + 1, ours + failed + 1, others, theirs + others)
    assert more >= now or now < 0


def test_a_number_beyond_any_count_is_counted_as_many() -> None:
    assert certainty.of_chance(2**52, 2**53, 0.4) > 1e6
    assert certainty.of_chance(2**52, 2**53, 0.6) == -math.inf


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e4), min_size=40, max_size=200))
def test_a_sketch_tells_the_middle_of_its_runs_to_within_its_resolution(times: list[float]) -> None:
    times = times[: len(times) // 4 * 4]
    quarter = len(times) // 4
    middle = sorted(math.log(one) for one in times)[quarter:-quarter]
    found = location(of(times))
    assert found is not None
    assert found.value == pytest.approx(sum(middle) / len(middle), abs=1.01 * RELATIVE_ERROR)


def test_one_run_in_five_that_takes_forever_moves_nothing() -> None:
    usual = [1.0 + 0.01 * number for number in range(80)]
    slow, fast = location(of([*usual, *[1000.0] * 20])), location(of([*usual, *[2.0] * 20]))
    assert slow is not None
    assert fast is not None
    assert slow.value == fast.value


def test_runs_that_all_fall_into_one_bucket_are_known_to_its_width_alone() -> None:
    few, many = location(Sketch({"5": 100})), location(Sketch({"5": 10**9}))
    assert few is not None
    assert many is not None
    assert math.sqrt(many.variance) == pytest.approx(0.04 / math.sqrt(12), rel=0.01)


def test_too_few_runs_are_no_measurement() -> None:
    assert location(Sketch()) is None
    assert location(Sketch({"5": LEAST_RUNS - 1})) is None
    assert location(Sketch({"5": LEAST_RUNS})) is not None
