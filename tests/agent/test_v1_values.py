"""From JSON to arrays: what is right becomes what it says, what is wrong is refused with words, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.contract.errors import RequestInvalid
from agent.contract.manifest import TensorSpec
from agent.serving.v1.values import holds_booleans, tensor

DTYPES = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)


@st.composite
def samples(draw: st.DrawFn) -> Any:
    shape = draw(arrays.array_shapes(max_dims=3, max_side=3))
    dtype = draw(st.sampled_from(DTYPES))
    return draw(arrays.arrays(dtype, shape))


@settings(max_examples=40)
@given(samples(), st.data())
def test_lists_of_lists_become_the_array_that_they_are(array: Any, data: st.DataObject) -> None:
    told = tuple(data.draw(st.sampled_from([length, -1])) for length in array.shape[1:])
    spec = TensorSpec(name="x", dtype=array.dtype.name, shape=(-1, *told))

    for booleans in (False, True):
        found = tensor(array.tolist(), spec, array.dtype.name, booleans=booleans or array.dtype.kind == "b")

        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64", "x"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(PLAIN, st.sampled_from(DTYPES), st.lists(st.integers(-1, 3).filter(bool), max_size=3))
def test_anything_else_is_refused_and_no_boolean_is_a_number(data: Any, dtype: str, told: list[int]) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=(-1, *told))
    body = json.dumps(data).encode()
    try:
        found = tensor(data, spec, dtype, booleans=holds_booleans(body))
    except RequestInvalid:
        return
    assert found.ndim == len(spec.shape)
    assert found.dtype == dtype
    assert dtype == "bool" or not (b"true" in body or b"false" in body)


@pytest.mark.parametrize(
    ("body", "held"),
    [
        (b'{"instances":[1]}', False),
        (b'{"rl":[NaN,Infinity,1E5]}', False),
        (b"[true]", True),
        (b"[false]", True),
    ],
)
def test_booleans_are_seen_in_the_text(body: bytes, held: bool) -> None:
    assert holds_booleans(body) is held
