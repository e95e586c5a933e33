"""The golden set's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import DocumentInvalid
from agent.transforms.golden import GoldenSet, read_golden, write_golden

INPUTS = (np.arange(12, dtype=np.int8).reshape(3, 4),)
OUTPUTS = (np.ones((3, 2), np.int8), np.zeros((3,), np.float32))


def test_a_golden_set_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "golden.npz"
    file.write_bytes(
        write_golden(GoldenSet(inputs=INPUTS, proof=OUTPUTS, float_outputs=(np.ones((3, 2), np.float32),)))
    )

    golden = read_golden(file)

    assert golden.samples == 3
    assert [array.tolist() for array in golden.proof] == [array.tolist() for array in OUTPUTS]
    assert golden.inputs[0].dtype == np.int8


def test_equal_sets_are_equal_bytes() -> None:
    assert write_golden(GoldenSet(inputs=INPUTS)) == write_golden(GoldenSet(inputs=(INPUTS[0].copy(),)))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"x": INPUTS[0]},
        {"input_0": INPUTS[0], "proof_0": np.ones((2, 2))},
        {"input_0": INPUTS[0], "proof_1": np.ones((3, 2))},
        {"input_0": np.zeros((0, 2))},
        {"input_0": np.array([{}], dtype=object)},
    ],
    ids=["empty", "other names", "other length", "gap", "no samples", "pickle"],
)
def test_what_is_no_golden_set_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    file = tmp_path / "golden.npz"
    np.savez(file, **arrays)

    with pytest.raises(DocumentInvalid):
        read_golden(file)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04nothing"])
def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "golden.npz"
    file.write_bytes(content)

    with pytest.raises(DocumentInvalid):
        read_golden(file)


def test_every_cut_of_the_file_is_refused(tmp_path: Path) -> None:
    whole = write_golden(GoldenSet(inputs=INPUTS, proof=OUTPUTS))
    file = tmp_path / "golden.npz"
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(DocumentInvalid):
            read_golden(file)
