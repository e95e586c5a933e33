from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry.clock import PERIOD_S, Offset, follow


def after(messages: list[tuple[float, float]]) -> Offset | None:
    """The estimate after messages, each (arrival, sending)."""
    offset = None
    for rx, sent in messages:
        offset = follow(offset, rx=rx, sent_monotonic=sent)
    return offset


@given(st.floats(0, 1e9), st.lists(st.floats(0, 30), min_size=1, max_size=20))
def test_a_boots_zero_is_never_early_and_late_by_the_shortest_way_at_most(
    zero: float, delays: list[float]
) -> None:
    found = after([(zero + second + delay, float(second)) for second, delay in enumerate(delays)])
    assert found is not None
    assert abs(found.zero - zero - min(delays)) < 1e-3


def test_a_message_that_says_nothing_changes_nothing() -> None:
    assert follow(None, rx=5.0, sent_monotonic=None) is None
    known = Offset(1.0, 2.0, 3.0)
    assert follow(known, rx=5.0, sent_monotonic=None) == known


def test_a_clock_here_that_is_put_back_is_followed_at_once() -> None:
    found = after([(1000.0, 0.0), (1001.0 - 3600, 1.0)])
    assert found is not None
    assert found.zero == -2600.0


def test_a_clock_here_that_is_put_forward_is_followed_within_two_periods() -> None:
    seconds = range(int(2 * PERIOD_S) + 2)
    found = after([(1000.0, 0.0), *((1000.0 + second + 3600, float(second)) for second in seconds)])
    assert found is not None
    assert found.zero == 4600.0


def test_a_crystal_that_drifts_is_followed_for_months() -> None:
    days, drift = 60, 50e-6
    found = after([(second * (1 + drift), float(second)) for second in range(0, days * 86_400, 100)])
    assert found is not None
    error = days * 86_400 * drift - found.zero
    assert 0 <= error <= 3 * PERIOD_S * drift
