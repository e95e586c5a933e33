"""Real numbers to stored integers and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.manifest import TensorSpec
from agent.transforms.quantization import dequantize, quantize


def spec(dtype: str, scale: float | None = None, zero_point: int | None = None) -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=(1, 4), scale=scale, zero_point=zero_point)


def test_real_numbers_become_steps_from_the_zero_point() -> None:
    stored = quantize(np.array([[0.0, 0.6, 1.0, -1.0]], np.float32), spec("int8", 1 / 255, -128))

    assert stored.dtype == np.int8
    assert stored.tolist() == [[-128, 25, 127, -128]]


def test_int16_keeps_its_own_range() -> None:
    assert quantize(np.array([300.0]), spec("int16", 1.0, 0)).tolist() == [300]


def test_a_float_tensor_is_only_cast() -> None:
    array = np.array([[3, 255]], np.uint8)

    assert quantize(array, spec("float32")).tolist() == [[3.0, 255.0]]
    assert dequantize(array, spec("float32")).dtype == np.float32


def test_an_integer_tensor_without_scale_is_only_cast() -> None:
    assert quantize(np.array([7], np.int64), spec("int32")).tolist() == [7]
    assert dequantize(np.array([7], np.int32), spec("int32")).tolist() == [7.0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@given(scale=st.floats(1e-4, 10), data=st.data())
def test_what_is_stored_comes_back(dtype: str, scale: float, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(-100 if limits.min else 0, 100))
    stored = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), min_size=1, max_size=20))
    tensor = spec(dtype, scale, zero_point)

    assert quantize(dequantize(np.array(stored, dtype), tensor), tensor).tolist() == stored
