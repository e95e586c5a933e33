"""The interval of a paired difference, and the verdict that it allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.statistics import (
    OUTSIDE,
    UNDECIDED,
    WITHIN,
    Z,
    paired_drop,
    samples_needed,
    tango_interval,
)


def test_the_interval_is_that_of_the_textbook() -> None:
    # Fagerland, Lydersen, Laake: Statistical Analysis of Contingency Tables, chapter 8: Bentur et al., 1 and 7 of 21
    assert tango_interval(21, 1, 7) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("samples", [1, 30, 450, 2000])
def test_without_differences_it_is_z_squared_over_n_plus_z_squared(samples: int) -> None:
    wide = Z**2 / (samples + Z**2)

    assert tango_interval(samples, 0, 0) == pytest.approx((-wide, wide), abs=1e-9)


@given(data=st.data(), samples=st.integers(1, 3000))
def test_it_holds_the_estimate_and_mirrors(data: st.DataObject, samples: int) -> None:
    lost = data.draw(st.integers(0, samples))
    gained = data.draw(st.integers(0, samples - lost))
    low, high = tango_interval(samples, lost, gained)

    assert -1 <= low <= (lost - gained) / samples + 1e-9
    assert (lost - gained) / samples - 1e-9 <= high <= 1
    assert tango_interval(samples, gained, lost) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 1), (7, 3), (3, 12), (20, 20)])
def test_the_score_at_its_ends_is_that_of_the_constrained_likelihood(lost: int, gained: int) -> None:
    samples = 100
    for delta, wanted in zip(tango_interval(samples, lost, gained), (Z, -Z), strict=True):
        # the likeliest rates of (lost, gained) among those that differ by delta, found by trying
        best = max(
            (lost * math.log(max(q + delta, 1e-300)) + gained * math.log(max(q, 1e-300))
             + (samples - lost - gained) * math.log(max(1 - 2 * q - delta, 1e-300)), q)
            for q in (max(0.0, -delta) + step * (1 - abs(delta)) / 2 / 5000 for step in range(5001))
        )[1]  # fmt: skip
        variance = samples * (2 * best + delta * (1 - delta))

        assert (lost - gained - samples * delta) / math.sqrt(variance) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(
    ("samples", "lost", "gained", "verdict"),
    [
        (900, 3, 1, WITHIN),
        (900, 0, 0, WITHIN),
        (450, 1, 0, UNDECIDED),
        (20, 0, 0, UNDECIDED),
        (900, 40, 3, OUTSIDE),
        (1000, 30, 5, OUTSIDE),
    ],
)
def test_a_verdict_needs_the_whole_interval(samples: int, lost: int, gained: int, verdict: str) -> None:
    assert paired_drop(samples=samples, lost=lost, gained=gained).verdict(0.01) == verdict


def test_it_says_how_many_samples_would_tell() -> None:
    needed = samples_needed(paired_drop(samples=20, lost=0, gained=0), 0.01)

    assert needed is not None
    assert 376 <= needed <= 386
    assert tango_interval(needed, 0, 0)[1] <= 0.01


def test_no_number_tells_where_the_drop_is_the_budget() -> None:
    assert samples_needed(paired_drop(samples=1000, lost=10, gained=0), 0.01) is None
