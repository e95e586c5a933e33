"""The search for the largest rate that keeps a budget."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bench.knee import CLOSE_ENOUGH, HIGHEST_PART, LOWEST_PART, Knee, confirmed, search

CAPACITIES = st.floats(1, 1e5)


@settings(max_examples=60)
@given(CAPACITIES, st.floats(0.001, 10))
def test_the_largest_rate_that_keeps_is_found_within_a_tenth_in_a_few_windows(
    capacity: float, part: float
) -> None:
    limit, asked = capacity * part, []

    def keeps(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = search(keeps, capacity)

    assert len(asked) <= 12
    assert found.rate_per_s is None or found.rate_per_s <= limit
    if found.rate_per_s is None:
        assert limit < 2 * capacity * LOWEST_PART
    elif found.misses_per_s is None:
        assert limit > capacity * HIGHEST_PART / 1.5
    else:
        assert limit < found.misses_per_s <= found.rate_per_s * CLOSE_ENOUGH


def test_what_does_not_keep_when_it_is_looked_at_longer_gives_way_to_a_lower_rate() -> None:
    found = confirmed(lambda rate: rate <= 95, Knee(100.0, 109.0))

    assert found.rate_per_s is not None
    assert 90 < found.rate_per_s <= 95
    assert found.misses_per_s == 100.0
    assert confirmed(lambda _: False, Knee(100.0, 109.0)).rate_per_s is None
