"""The self-test of a trial, and runs in proof environments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.contract.codec import from_plain
from agent.contract.trial import Measurement
from agent.transforms.golden import GoldenSet
from tests.agent.boards import MODELS, ROOT, TestBoard, digits, tflite_specs, write_bundle


def edge_agent(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def launched(board: TestBoard, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", board.root / "bin" / "launch.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def measured(
    bundle: Path, tmp_path: Path, inputs: NDArray[Any], *more: object
) -> tuple[dict[str, Any], NDArray[Any]]:
    np.savez(tmp_path / "in.npz", input_0=inputs)
    ran = edge_agent(
        "measure",
        "--bundle",
        bundle,
        "--inputs",
        tmp_path / "in.npz",
        "--outputs",
        tmp_path / "out.npz",
        *more,
    )
    assert ran.returncode == 0, ran.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        return json.loads(ran.stdout), outputs["output_0"]


@pytest.fixture
def proved(board: TestBoard, tmp_path: Path) -> TestBoard:
    """Generation 1 holds the digits model with a golden set from a proof run of its own; 2 one that lies."""
    _, answers = measured(board.root / "objects" / board.digits_onnx(), tmp_path, digits())
    board.generation(1, {"digits": board.digits_onnx(GoldenSet((digits(),), (answers,), (answers,)))})
    wrong = np.roll(answers, 1, axis=1)
    board.generation(2, {"digits": board.digits_onnx(GoldenSet((digits(),), (answers + 1,), (wrong,)))})
    return board


def test_measure_runs_a_bundle_without_a_board(board: TestBoard, tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path,
        model_file=MODELS / "digits_int8.tflite",
        golden=GoldenSet(inputs=(np.zeros((1, 64), np.int8),)),
        inputs=tflite_specs(MODELS / "digits_int8.tflite")[0],
        outputs=tflite_specs(MODELS / "digits_int8.tflite")[1],
    )

    told, answers = measured(tmp_path / bundle, tmp_path, np.zeros((7, 64), np.int8), "--repeat", 3)

    assert (told["samples"], told["runs"], told["engine"]) == (7, 21, "litert")
    assert 0 < told["p50_ms"] <= told["p95_ms"] < 1000
    assert told["peak_memory_mb"] > told["memory_mb"] >= 0
    assert (answers.dtype, answers.shape) == (np.int8, (7, 10))


def test_selftest_compares_with_the_proof_run_and_the_float_model(proved: TestBoard) -> None:
    ran = launched(proved, "--generation", 1, "selftest", "--json")

    (found,) = (from_plain(Measurement, plain) for plain in json.loads(ran.stdout))
    assert (found.model, found.release, found.samples) == ("digits", "digits@1", 40)
    assert (found.proof_within, found.agreement) == (1.0, 1.0)
    assert (found.engine, found.p50_ms > 0, found.p95_ms >= found.p50_ms) == ("onnxruntime", True, True)


def test_selftest_tells_of_answers_that_are_wrong(proved: TestBoard) -> None:
    folder = proved.root / "generations" / "2"
    ran = launched(proved, "--generation", 1, "selftest", "--generation-folder", folder)

    (found,) = json.loads(ran.stdout)
    assert found["proof_within"] < 0.5
    assert found["agreement"] < 0.5


def test_a_sanity_set_has_no_agreement(board: TestBoard) -> None:
    board.generation(1, {"two": board.sum_and_product(), "small": board.digits_int8()})
    ran = launched(board, "--generation", 1, "selftest")

    two, small = (from_plain(Measurement, plain) for plain in json.loads(ran.stdout))
    assert (two.agreement, two.proof_within, two.samples) == (None, None, 2)
    assert (small.engine, small.samples) == ("litert", 40)


def refused(ran: subprocess.CompletedProcess[str], code: str, status: int) -> str:
    """The sentence of a command that ended with this error."""
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == code
    assert ran.stderr.startswith("error: ") or "\nerror: " in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == status
    return str(error["message"])


def test_selftest_refuses_a_model_that_was_changed(proved: TestBoard) -> None:
    generation = json.loads((proved.root / "generations" / "1" / "generation.json").read_bytes())
    model = proved.root / "objects" / generation["models"][0]["bundle"] / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")

    refused(launched(proved, "--generation", 1, "selftest", "--json"), "artifact.digest-mismatch", 3)


@pytest.mark.parametrize(
    ("model", "words"), [(b"no model at all", "refuses"), (b"\x1c\0\0\0TFL3" + b"\xff" * 5000, "")]
)
def test_an_engine_that_refuses_or_crashes_is_an_answer(
    board: TestBoard, tmp_path: Path, model: bytes, words: str
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(model)
    inputs, outputs = tflite_specs(MODELS / "digits.tflite")
    golden = GoldenSet(inputs=(digits(2),))
    board.generation(
        1, {"digits": board.bundle(model_file=broken, golden=golden, inputs=inputs, outputs=outputs)}
    )

    ran = launched(board, "--generation", 1, "selftest", "--json")

    error = json.loads(ran.stdout)["error"]
    assert error["code"] in ("engine.refuses-model", "engine.inference-failed")
    assert words in error["message"]
    assert ran.returncode == 1


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 63), np.float32), "input `x` must be float32 ['N', 64], found float32 [2, 63]"),
        (np.zeros((2, 64), np.float64), "input `x` must be float32 ['N', 64], found float64 [2, 64]"),
        (np.zeros((0, 64), np.float32), "input `x` must be float32 ['N', 64], found float32 [0, 64]"),
    ],
)
def test_measure_refuses_inputs_that_do_not_fit(
    board: TestBoard, tmp_path: Path, array: NDArray[Any], words: str
) -> None:
    np.savez(tmp_path / "in.npz", input_0=array)
    bundle = board.root / "objects" / board.digits_onnx()

    ran = edge_agent("measure", "--bundle", bundle, "--inputs", tmp_path / "in.npz", "--json")

    assert refused(ran, "request.invalid", 2) == words


def test_measure_refuses_files_that_are_none(board: TestBoard, tmp_path: Path) -> None:
    bundle = board.root / "objects" / board.digits_onnx()
    (tmp_path / "in.npz").write_bytes(b"nothing")

    refused(
        edge_agent("measure", "--bundle", bundle, "--inputs", tmp_path / "in.npz", "--json"),
        "data.unreadable",
        1,
    )
    refused(
        edge_agent("measure", "--bundle", tmp_path, "--inputs", tmp_path / "in.npz", "--json"),
        "artifact.file-missing",
        3,
    )


def test_a_command_without_its_folder_says_so() -> None:
    ran = edge_agent("run")

    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --root: ")
