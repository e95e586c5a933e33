"""Calibration and held-out data at the door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration.data import CALIBRATION, check_inputs, check_labels, evenly, load

IMAGE = TensorSpec(name="image", dtype="float32", shape=(-1, 8, 8, 1))


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    file = folder / "data.npz"
    np.savez(file, **arrays)
    return file


def test_npz_and_npy_hold_the_same(tmp_path: Path) -> None:
    x = np.zeros((3, 8, 8, 1), np.float32)
    np.save(tmp_path / "x.npy", x)

    assert load(tmp_path / "x.npy", purpose=CALIBRATION).samples == 3
    assert load(saved(tmp_path, x=x, y=np.arange(3)), purpose=CALIBRATION).y is not None


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "float16", "float32"])
def test_a_dtype_that_keeps_every_value_is_taken(tmp_path: Path, dtype: str) -> None:
    data = load(saved(tmp_path, x=np.zeros((2, 8, 8, 1), dtype)), purpose=CALIBRATION)

    check_inputs(data, IMAGE, inputs=1, purpose=CALIBRATION)


@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
def test_a_dtype_that_loses_values_is_refused(tmp_path: Path, dtype: str) -> None:
    data = load(saved(tmp_path, x=np.zeros((2, 8, 8, 1), dtype)), purpose=CALIBRATION)

    with pytest.raises(DataMismatch, match=dtype) as refused:
        check_inputs(data, IMAGE, inputs=1, purpose=CALIBRATION)

    assert refused.value.hint == "the model takes float32 of the shape [N, 8, 8, 1]"


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 8, 8), (2, 64), (2, 8, 8, 3), (2, 16, 16, 1)])
def test_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = load(saved(tmp_path, x=np.zeros(shape, np.float32)), purpose=CALIBRATION)

    with pytest.raises(DataMismatch, match=r"\[N, "):
        check_inputs(data, IMAGE, inputs=1, purpose=CALIBRATION)


def test_a_model_of_two_inputs_has_no_one_array(tmp_path: Path) -> None:
    data = load(saved(tmp_path, x=np.zeros((2, 8, 8, 1), np.float32)), purpose=CALIBRATION)

    with pytest.raises(DataMismatch, match="2 inputs"):
        check_inputs(data, IMAGE, inputs=2, purpose=CALIBRATION)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path: Path, value: float) -> None:
    x = np.zeros((5, 4), np.float32)
    x[3, 2] = value

    with pytest.raises(DataMismatch, match="sample 3"):
        load(saved(tmp_path, x=x), purpose=CALIBRATION)


@pytest.mark.parametrize(
    "y",
    [np.zeros(3, np.int64), np.zeros((2, 10), np.int64), np.zeros(2, np.float32)],
    ids=["count", "one-hot", "float"],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, y: np.ndarray) -> None:
    with pytest.raises(DataMismatch, match="`y`"):
        load(saved(tmp_path, x=np.zeros((2, 4), np.float32), y=y), purpose=CALIBRATION)


def test_labels_beyond_the_model_s_classes_are_refused(tmp_path: Path) -> None:
    data = load(saved(tmp_path, x=np.zeros((2, 4), np.float32), y=np.array([0, 10])), purpose=CALIBRATION)

    check_labels(data, 11, purpose=CALIBRATION)
    with pytest.raises(DataMismatch, match="from 0 to 10"):
        check_labels(data, 10, purpose=CALIBRATION)
    with pytest.raises(DataMismatch, match="one score a class"):
        check_labels(data, None, purpose=CALIBRATION)


def test_files_that_are_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match="no such file"):
        load(tmp_path / "none.npz", purpose=CALIBRATION)
    with pytest.raises(DataUnreadable, match="no array `x`"):
        load(saved(tmp_path, images=np.zeros((2, 4))), purpose=CALIBRATION)
    for content in (b"", b"a,b\n1,2\n", b"\x93NUMPY", b"PK\x03\x04"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataUnreadable):
            load(tmp_path / "bad.npz", purpose=CALIBRATION)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable):
        load(saved(tmp_path, x=np.array([{}, {}], dtype=object)), purpose=CALIBRATION)


@pytest.mark.parametrize("x", [np.zeros((0, 4), np.float32), np.zeros(4, np.float32), np.array([["a"]])])
def test_nothing_and_text_are_refused(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(DataMismatch):
        load(saved(tmp_path, x=x), purpose=CALIBRATION)


def test_samples_are_taken_evenly() -> None:
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly(3, 128).tolist() == [0, 1, 2]
    assert len(evenly(900, 128)) == 128
    assert evenly(900, 128)[-1] >= 890
