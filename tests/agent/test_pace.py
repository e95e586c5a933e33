"""How large batches become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.serving.pace import DEFAULT_LATENCY_S, Curve, Pace, fit

SIZES = (1, 2, 4, 8, 16, 32)
STEEP = Curve(fixed_s=0.010, sample_s=0.001, largest=32)
FLAT = Curve(fixed_s=0.0001, sample_s=0.010, largest=32)


@given(st.floats(0, 1), st.floats(1e-6, 1), st.lists(st.floats(0.98, 1.02), min_size=6, max_size=6))
def test_a_curve_is_found_again_in_its_timed_runs(
    fixed_s: float, sample_s: float, noise: list[float]
) -> None:
    told = Curve(fixed_s, sample_s, 32)

    found = fit([(size, told.run_s(size) * factor) for size, factor in zip(SIZES, noise, strict=True)])

    assert found.largest == 32
    for size in SIZES:
        assert found.run_s(size) == pytest.approx(told.run_s(size), rel=0.06)


def test_one_timed_size_is_a_curve_without_gain() -> None:
    found = fit([(1, 0.004)])

    assert (found.run_s(1), found.gain, found.largest) == (0.004, 0.0, 1)


def test_a_flat_curve_means_no_batches() -> None:
    pace = Pace(FLAT, budget_s=10.0, batches=True)

    for _ in range(100):
        pace.ran(1, 0.001)

    assert (pace.batches, pace.samples) == (False, 1)


def test_a_model_that_mixes_its_samples_gets_no_batches() -> None:
    assert not Pace(STEEP, budget_s=None, batches=False).batches


def test_batches_begin_where_the_curve_meets_half_the_budget() -> None:
    assert Pace(STEEP, budget_s=0.040, batches=True).samples == 10
    assert Pace(STEEP, budget_s=None, batches=True).samples == 32  # the largest that was timed
    slower = Curve(fixed_s=0.010, sample_s=0.004, largest=32)
    assert Pace(slower, budget_s=None, batches=True).samples == int((DEFAULT_LATENCY_S / 2 - 0.010) / 0.004)
    assert Pace(STEEP, budget_s=0.001, batches=True).samples == 1


def test_batches_grow_by_one_and_shrink_by_a_tenth() -> None:
    pace = Pace(STEEP, budget_s=0.040, batches=True)

    pace.ran(10, 0.019)
    assert pace.samples == 11
    pace.ran(3, 0.013)  # it was not full: it says nothing of larger ones
    assert pace.samples == 11
    pace.ran(11, 0.021)
    assert pace.samples == 9


@given(st.floats(0.25, 4.0), st.floats(0.015, 0.2))
def test_batches_settle_where_runs_keep_within_their_time_however_wrong_the_curve_was(
    slower: float, budget_s: float
) -> None:
    pace = Pace(STEEP, budget_s=budget_s, batches=True)
    real = Curve(STEEP.fixed_s * slower, STEEP.sample_s * slower, 32)

    for _ in range(200):
        pace.ran(pace.samples, real.run_s(pace.samples))

    best = min(32, max(1, real.fitting(budget_s / 2)))
    assert 0.85 * best - 1 <= pace.samples <= best + 2
