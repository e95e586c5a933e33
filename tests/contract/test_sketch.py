from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.codec import decode, encode
from agent.contract.errors import DocumentInvalid
from agent.contract.sketch import LARGEST, RELATIVE_ERROR, SMALLEST, Sketch, bucket, merge, of

MANY = settings(derandomize=True, max_examples=150)
values = st.lists(st.floats(SMALLEST, LARGEST), max_size=40)
any_values = st.lists(st.floats(-1e300, 1e300), max_size=20)


@MANY
@given(any_values, any_values)
def test_two_sketches_together_are_the_sketch_of_both(first: list[float], second: list[float]) -> None:
    together, both = merge(of(first), of(second)), of(first + second)
    assert together.counts == both.counts
    assert math.isclose(together.total, both.total, rel_tol=1e-9, abs_tol=1e290)
    assert both.count == len(first) + len(second)


@MANY
@given(values, values, values)
def test_merging_knows_no_order(first: list[float], second: list[float], third: list[float]) -> None:
    a, b, c = of(first), of(second), of(third)
    assert merge(a, b).counts == merge(b, a).counts
    assert merge(merge(a, b), c).counts == merge(a, merge(b, c)).counts
    assert merge(a, Sketch()) == a


@MANY
@given(values.filter(bool), st.floats(0, 1))
def test_a_quantile_is_off_by_two_percent_at_most(numbers: list[float], part: float) -> None:
    found = of(numbers).quantile(part)
    exact = sorted(numbers)[math.floor(part * (len(numbers) - 1))]
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


@MANY
@given(values.filter(bool), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_no_smaller(numbers: list[float], first: float, second: float) -> None:
    sketch = of(numbers)
    low, high = sketch.quantile(min(first, second)), sketch.quantile(max(first, second))
    assert low is not None
    assert high is not None
    assert low <= high


def test_an_empty_sketch_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().count == 0


def test_what_lies_beyond_the_ends_is_counted_in_them() -> None:
    assert bucket(0.0) == bucket(-5.0) == bucket(SMALLEST)
    assert bucket(1e300) == bucket(math.inf) == bucket(LARGEST)


@pytest.mark.parametrize(
    "counts", ['{"x": 1}', '{"1": 0}', '{"1": -3}', '{"99999": 1}', '{"01": 1}', '{"-9999": 2}']
)
def test_a_sketch_that_could_not_have_been_made_is_refused(counts: str) -> None:
    with pytest.raises(DocumentInvalid):
        decode(Sketch, f'{{"counts": {counts}, "total": 1.0}}'.encode())


@MANY
@given(values)
def test_a_sketch_survives_the_wire(numbers: list[float]) -> None:
    assert decode(Sketch, encode(of(numbers))) == of(numbers)
