"""Calibration and held-out data as arrays, at the door."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration import memory
from converters.calibration.casting import CHUNK_BYTES
from converters.calibration.data import CALIBRATION, EVALUATION, Data, evenly
from converters.calibration.read import read
from converters.calibration.source import DataKind, DataSource, LabelKind, locate

IMAGE = TensorSpec(name="image", dtype="float32", shape=(-1, 8, 8, 1))
ROW = TensorSpec(name="row", dtype="float32", shape=(-1, 4))
WHOLE = TensorSpec(name="row", dtype="int32", shape=(-1, 4))
BYTES = TensorSpec(name="x", dtype="int8", shape=(-1, 4))
LEFT, RIGHT = (
    TensorSpec(name="serving_default_left:0", dtype="float32", shape=(-1, 4)),
    TensorSpec(name="right", dtype="int32", shape=(-1, 2)),
)


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    file = folder / "data.npz"
    np.savez(file, **arrays)
    return file


def taken(
    path: Path, *specs: TensorSpec, purpose: str = CALIBRATION, classes: int | None = None, **more: bool
) -> Data:
    location, kind = locate(path)
    source = DataSource(location=location, kind=kind, **more)
    return read(source, specs, steps=(), purpose=purpose, classes=classes)


def test_npz_and_npy_hold_the_same(tmp_path: Path) -> None:
    x = np.zeros((3, 8, 8, 1), np.float32)
    np.save(tmp_path / "x.npy", x)

    assert taken(tmp_path / "x.npy", IMAGE).samples == 3
    data = taken(saved(tmp_path, x=x, y=np.arange(3)), IMAGE)
    assert data.y is not None
    assert data.sha256 == hashlib.sha256((tmp_path / "data.npz").read_bytes()).hexdigest()


def test_the_one_input_may_have_its_name(tmp_path: Path) -> None:
    assert taken(saved(tmp_path, row=np.zeros((3, 4), np.float32)), ROW).samples == 3


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "float16", "float32"])
def test_what_the_model_s_type_holds_is_taken_as_it_is(tmp_path: Path, dtype: str) -> None:
    assert taken(saved(tmp_path, x=np.zeros((2, 8, 8, 1), dtype)), IMAGE).x.dtype == dtype


@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
def test_numbers_become_the_model_s_own(tmp_path: Path, dtype: str) -> None:
    rows = (np.arange(12).reshape(3, 4) / 8).astype(dtype)

    x = taken(saved(tmp_path, x=rows), ROW).x

    assert x.dtype == np.float32
    assert x.tolist() == rows.tolist()
    assert taken(saved(tmp_path, x=np.full((2, 4), 0.1)), ROW).x[0, 0] == np.float32(0.1)
    assert taken(saved(tmp_path, x=np.ones((2, 4), np.int64)), WHOLE).x.dtype == np.int32


@pytest.mark.parametrize(
    ("x", "spec", "words"),
    [
        ([[0, 1e39]], ROW, r"sample 0 of `x` at \[1\]: 1e\+39 is no float32"),
        ([[0, 0], [2**24 + 1, 0]], ROW, r"sample 1 of `x` at \[0\]: 16777217 is no float32"),
        ([[0, 2**31]], WHOLE, "2147483648 is no int32"),
        (np.array([[0, 200]], np.uint8), BYTES, "200 is no int8"),
        ([[0.0, 1.0]], WHOLE, "`x` is float64, which can't stand for int32"),
    ],
    ids=["overflow", "lost units", "too large", "sign", "fractions"],
)
def test_numbers_that_would_be_others_are_refused_with_their_place(
    tmp_path: Path, x: list[list[float]], spec: TensorSpec, words: str
) -> None:
    with pytest.raises(DataMismatch, match=words) as refused:
        taken(saved(tmp_path, x=np.pad(np.array(x), ((0, 0), (0, 2)))), spec)

    assert refused.value.hint == f"the model takes {spec.dtype} of the shape [N, 4]"


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 8, 8), (2, 64), (2, 8, 8, 3), (2, 16, 16, 1)])
def test_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataMismatch, match=r"\[N, "):
        taken(saved(tmp_path, x=np.zeros(shape, np.float32)), IMAGE)


def test_a_model_of_two_inputs_takes_an_array_by_each_name(tmp_path: Path) -> None:
    right, left = np.arange(6, dtype=np.int32).reshape(3, 2), np.ones((3, 4), np.float32)

    data = taken(saved(tmp_path, right=right, left=left, y=np.arange(3)), LEFT, RIGHT)

    assert [array.shape for array in data.inputs] == [(3, 4), (3, 2)]
    assert [array.tolist() for array in data.sample(1)] == [[[1.0] * 4], [[2, 3]]]


def test_arrays_that_are_not_those_of_the_inputs_are_refused_by_name(tmp_path: Path) -> None:
    left, right = np.ones((3, 4), np.float32), np.ones((3, 2), np.int32)

    with pytest.raises(DataUnreadable, match="no array `right`"):
        taken(saved(tmp_path, left=left), LEFT, RIGHT)
    with pytest.raises(DataMismatch, match="`middle` in it is no input"):
        taken(saved(tmp_path, left=left, right=right, middle=left), LEFT, RIGHT)
    with pytest.raises(DataMismatch, match="different numbers of samples: `left` 3, `right` 2"):
        taken(saved(tmp_path, left=left, right=right[:2]), LEFT, RIGHT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path: Path, value: float) -> None:
    x = np.zeros((CHUNK_BYTES // (4 * 4) + 5, 4), np.float32)  # the last rows are looked at apart
    x[-2, 2] = value

    with pytest.raises(DataMismatch, match=rf"sample {len(x) - 2} of `x` at \[2\]: NaN or infinity"):
        taken(saved(tmp_path, x=x), ROW)


@pytest.mark.parametrize(
    "y",
    [np.zeros(3, np.int64), np.zeros((2, 10), np.int64), np.zeros(2, np.float32)],
    ids=["count", "one-hot", "float"],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, y: np.ndarray) -> None:
    with pytest.raises(DataMismatch, match="`y`"):
        taken(saved(tmp_path, x=np.zeros((2, 4), np.float32), y=y), ROW)


def test_quantities_are_labels_where_they_are_asked_for(tmp_path: Path) -> None:
    file = saved(tmp_path, x=np.zeros((2, 4), np.float32), y=np.array([0.5, 1.5]))

    assert taken(file, ROW, purpose=EVALUATION, classes=None, label_kind=LabelKind.QUANTITIES).y.tolist() == [
        0.5,
        1.5,
    ]


def test_labels_beyond_the_model_s_classes_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, x=np.zeros((2, 4), np.float32), y=np.array([0, 10]))

    taken(file, ROW, purpose=EVALUATION, classes=11)
    with pytest.raises(DataMismatch, match="from 0 to 10"):
        taken(file, ROW, purpose=EVALUATION, classes=10)
    with pytest.raises(DataMismatch, match="one score a class"):
        taken(file, ROW, purpose=EVALUATION, classes=None)


def test_labels_of_one_score_are_0_and_1(tmp_path: Path) -> None:
    x = np.zeros((2, 4), np.float32)

    both = taken(saved(tmp_path, x=x, y=np.array([0, 1])), ROW, purpose=EVALUATION, classes=1)
    assert both.y is not None
    with pytest.raises(DataMismatch, match="labels go from 0 to 2"):
        taken(saved(tmp_path, x=x, y=np.array([0, 2])), ROW, purpose=EVALUATION, classes=1)


def test_files_that_are_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match="no such file"):
        taken(tmp_path / "none.npz", ROW)
    with pytest.raises(DataUnreadable, match="no array `x`"):
        taken(saved(tmp_path, images=np.zeros((2, 4))), ROW)
    for content in (b"", b"a,b\n1,2\n", b"\x93NUMPY", b"PK\x03\x04"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataUnreadable):
            taken(tmp_path / "bad.npz", ROW)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable):
        taken(saved(tmp_path, x=np.array([{}, {}], dtype=object)), ROW)


@pytest.mark.parametrize("x", [np.zeros((0, 4), np.float32), np.zeros(4, np.float32), np.array([["a"]])])
def test_nothing_and_text_are_refused(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(DataMismatch):
        taken(saved(tmp_path, x=x), ROW)


def test_what_this_machine_can_t_hold_is_told_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.available_bytes()
    assert free > 0
    monkeypatch.setattr(memory, "available_bytes", lambda: free)

    memory.check_fits("photos", free // (2 * memory.COPIES), "its 9 files")
    with pytest.raises(DataUnreadable, match=r"its 9 files take [\d,]+ bytes, 2 times .* [\d,]+ free"):
        memory.check_fits("photos", free, "its 9 files")


def test_samples_are_taken_evenly() -> None:
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly(3, 128).tolist() == [0, 1, 2]
    assert len(evenly(900, 128)) == 128
    assert evenly(900, 128)[-1] >= 890


def test_what_is_given_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"rows.csv": b"a\n1\n", "rows": b"PAR1", "x.npz": b"PK", "load.py": b""}.items():
        Path(name).write_bytes(content)
    Path("photos").mkdir()

    kinds = {text: locate(Path(text))[1] for text in (
        "rows.csv", "rows", "x.npz", "photos", "load.py:samples", "package.module:samples",
    )}  # fmt: skip
    assert kinds == {
        "rows.csv": DataKind.CSV,
        "rows": DataKind.PARQUET,
        "x.npz": DataKind.ARRAYS,
        "photos": DataKind.FOLDER,
        "load.py:samples": DataKind.FUNCTION,
        "package.module:samples": DataKind.FUNCTION,
    }
    with pytest.raises(DataUnreadable, match=r"no file `other\.py`"):
        locate(Path("other.py:samples"))
