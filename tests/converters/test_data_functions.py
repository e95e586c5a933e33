"""A function of the user's own as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration import memory
from converters.calibration.data import EVALUATION, Data
from converters.calibration.read import look, read
from converters.calibration.source import DataSource, locate

ROW = TensorSpec(name="row", dtype="float32", shape=(-1, 3))
LEFT, RIGHT = TensorSpec("left", "float32", (-1, 3)), TensorSpec("right", "float32", (-1, 2))
CODE = """
import numpy as np
from pathlib import Path

Path("ran").touch()
row = np.arange(3, dtype=np.float32)

def alone():
    yield row
    yield row + 1

def labelled():
    for k in range(4):
        yield row + k, k % 2

def batches():
    yield np.stack([row, row]), np.array([0, 1])
    yield row[None], 1

def two():
    yield {"right": row[:2], "left": row}, 0

def in_order():
    yield [row, row[:2]]

def nothing():
    return []

def fails():
    yield row
    raise KeyError("photo 7")

def leaves():
    raise SystemExit(0)

def endless():
    while True:
        yield row

def text():
    yield "row"

def longer():
    yield row
    yield np.zeros((1, 4), np.float32)

def other():
    yield {"middle": row}

def not_finite():
    yield row
    yield row * np.inf
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("samples_of_mine.py").write_text(CODE)


def taken(given: str, *specs: TensorSpec, **more: Any) -> Data:
    location, kind = locate(Path(given))
    source = DataSource(location=location, kind=kind, **more)
    look(source, purpose=EVALUATION)
    return read(source, specs or (ROW,), steps=(), purpose=EVALUATION, classes=2)


def test_samples_come_alone_or_with_labels() -> None:
    assert taken("samples_of_mine.py:alone").x.tolist() == [[0, 1, 2], [1, 2, 3]]
    data = taken("samples_of_mine.py:labelled")
    assert data.y.tolist() == [0, 1, 0, 1]
    assert data.sha256 == taken("samples_of_mine.py:labelled").sha256
    assert data.sha256 != taken("samples_of_mine.py:alone").sha256


def test_several_samples_may_come_at_once() -> None:
    data = taken("samples_of_mine.py:batches")

    assert data.x.shape == (3, 3)
    assert data.y.tolist() == [0, 1, 1]


def test_several_inputs_come_by_name_or_in_order() -> None:
    for name in ("two", "in_order"):
        data = taken(f"samples_of_mine.py:{name}", LEFT, RIGHT)
        assert [array.shape for array in data.inputs] == [(1, 3), (1, 2)]


def test_nothing_is_run_before_it_is_read() -> None:
    location, kind = locate(Path("samples_of_mine.py:alone"))
    look(DataSource(location=location, kind=kind), purpose=EVALUATION)

    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "yields nothing"),
        ("fails", r"KeyError in samples_of_mine\.py, line \d+: 'photo 7'"),
        ("leaves", "SystemExit in samples_of_mine"),
        ("absent", "has no function `absent`"),
        ("text", "item 0 is no sample"),
        ("longer", "its items differ"),
        ("other", "`middle` is no input"),
        ("not_finite", r"sample 1 of `row` at \[0\]: NaN"),
    ],
)
def test_what_is_no_sample_is_refused(name: str, words: str) -> None:
    with pytest.raises((DataUnreadable, DataMismatch), match=words):
        taken(f"samples_of_mine.py:{name}")


def test_a_function_that_does_not_end_is_stopped_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 12 * 2 * 100)

    with pytest.raises(DataUnreadable, match="its first 101 items take 1,212 bytes"):
        taken("samples_of_mine.py:endless")


def test_a_module_that_can_t_be_imported_says_why() -> None:
    with pytest.raises(DataUnreadable, match="ModuleNotFoundError"):
        taken("nowhere.at_all:samples")
