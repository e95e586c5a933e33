"""A Keras model for two kinds of boards: what it cost, and what is refused.

Each conversion is a real child process with TensorFlow in it, and each proof a real process of the agent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import (
    AccuracyUnkept,
    ExitCode,
    ModelHoldsCode,
    ModelUnreadable,
)
from agent.contract.manifest import GoldenOrigin, Task
from agent.contract.profile import DeviceProfile
from agent.contract.trial import agreement_floor
from agent.transforms.agreement import agreement
from agent.transforms.golden import read_golden
from edge.bundle import open_bundle
from edge.conversion import ConversionOutcome, ConversionRequest, Measure, convert
from tests.conversion.digits import DATA, write_data
from tests.conversion.proving import PROFILES, Told, measure_here

BOTH = (PROFILES["sim-tflite"], PROFILES["sim-onnx"])


def run(
    folder: Path,
    model: str,
    *,
    rows: bool = False,
    profiles: tuple[DeviceProfile, ...] = BOTH,
    measure_for: Callable[[DeviceProfile], Measure | None] = measure_here,
    told: Told | None = None,
    calibration: str | None = "calibration.npz",
    evaluation: str | None = "held-out.npz",
    **wishes: object,
) -> ConversionOutcome:
    write_data(folder, rows=rows)
    request = ConversionRequest(
        model=DATA / model,
        profiles=profiles,
        output=folder / "out",
        calibration=folder / calibration if calibration else None,
        evaluation=folder / evaluation if evaluation else None,
        max_drop_points=1.5,
        **{"recipe": "int8", **wishes},  # type: ignore[arg-type]
    )
    return convert(request, measure_for=measure_for, progress=told or Told())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConversionOutcome, Told]:
    """The digits for both boards, within their budget."""
    folder, told = tmp_path_factory.mktemp("good"), Told()
    labels = folder / "labels.txt"
    labels.write_text("".join(f"{digit}\n" for digit in range(10)))
    return folder, run(folder, "digits.keras", told=told, labels=labels), told


def test_both_artifacts_are_within_their_budget(good: tuple[Path, ConversionOutcome, Told]) -> None:
    _, outcome, _ = good

    assert outcome.exit_code is ExitCode.DONE
    assert outcome.model == "digits"
    for result in outcome.results:
        assert result.drop is not None
        assert result.verdict == "within"
        assert result.drop.samples == 900
        assert result.drop.float_accuracy > 0.93
        assert result.drop.high <= 1.5
        assert result.size_bytes < 25_000
        assert (result.agreement or 0) >= (result.floor or 1)
        assert result.p95_ms is not None


def test_one_tensorflow_serves_all_profiles(good: tuple[Path, ConversionOutcome, Told]) -> None:
    _, _, told = good

    assert len([step for step in told.steps if step.startswith("start TensorFlow")]) == 1
    assert len([step for step in told.steps if step.startswith("proved")]) == 2


def test_the_bundles_hold_what_a_board_needs(good: tuple[Path, ConversionOutcome, Told]) -> None:
    folder, outcome, _ = good
    for result in outcome.results:
        bundle = open_bundle(folder / "out" / result.profile, digest=result.digest)
        manifest = bundle.manifest

        assert manifest.task is Task.CLASSIFICATION
        assert manifest.golden.origin is GoldenOrigin.HELD_OUT
        assert manifest.golden.samples == 128
        assert manifest.golden.floor == agreement_floor(1.5, 128)
        assert manifest.golden.proved_in == result.proved_in
        assert manifest.requires.memory_bytes >= 0
        assert manifest.labels_file is not None
        assert manifest.recipe["name"] == "int8"
        assert manifest.recipe["calibration"]["samples"] == 197
        assert [step.op for step in manifest.preprocessing] == [
            "grayscale",
            "resize",
            "scale",
            "layout",
            "expand",
        ]
        assert manifest.preprocessing[2].parameters["factor"] == pytest.approx(1 / 255)


def test_the_golden_set_agrees_by_the_function_of_the_board(
    good: tuple[Path, ConversionOutcome, Told],
) -> None:
    folder, outcome, _ = good
    for result in outcome.results:
        bundle = open_bundle(folder / "out" / result.profile)
        golden = read_golden(bundle.path(bundle.manifest.golden.file))
        outputs = bundle.manifest.outputs

        assert golden.inputs[0].dtype == np.dtype(bundle.manifest.inputs[0].dtype)
        assert agreement(golden.proof, golden.float_outputs, outputs, Task.CLASSIFICATION) == result.agreement


def test_the_tflite_file_is_int8_throughout_and_the_onnx_file_is_of_opset_17(
    good: tuple[Path, ConversionOutcome, Told],
) -> None:
    import onnx

    folder, _, _ = good
    tflite = open_bundle(folder / "out" / "sim-tflite").manifest
    proto = onnx.load(str(folder / "out" / "sim-onnx" / "model.onnx"))

    assert (tflite.inputs[0].dtype, tflite.inputs[0].shape) == ("int8", (1, 8, 8, 1))
    assert tflite.outputs[0].dtype == "int8"
    assert tflite.requires.engines == {"litert": "1.0.0", "tflite-runtime": "2.11.0"}
    assert (proto.ir_version, [entry.version for entry in proto.opset_import if not entry.domain]) == (
        8,
        [17],
    )
    assert "QuantizeLinear" in {node.op_type for node in proto.graph.node}
    assert [value.name for value in proto.graph.output] == ["digit"]


def test_the_report_says_what_was_measured_where(good: tuple[Path, ConversionOutcome, Told]) -> None:
    folder, outcome, _ = good
    report = json.loads((folder / "out" / "sim-tflite" / "report.json").read_bytes())

    assert report["accuracy"]["samples"] == 900
    assert report["accuracy"]["method"].endswith("(Tango 1998)")
    assert report["here"]["where"] == outcome.results[0].proved_in
    assert {stage["name"] for stage in report["stages"]} >= {"start TensorFlow", "convert to TFLite"}
    assert all(stage["peak_memory_mb"] > 0 for stage in report["stages"])
    assert not any("onnx" in stage.get("target", "") for stage in report["stages"])
    assert report["source"]["answered_by"].startswith("keras ")


def test_nothing_else_is_left_of_a_conversion(good: tuple[Path, ConversionOutcome, Told]) -> None:
    folder, _, _ = good

    assert sorted(path.name for path in (folder / "out").iterdir()) == ["sim-onnx", "sim-tflite"]


@pytest.mark.bed
def test_wrongly_scaled_calibration_is_outside_and_kept_only_when_asked(tmp_path: Path) -> None:
    outcome = run(tmp_path, "digits.h5", calibration="wrong.npz", profiles=BOTH[:1], keep_failed=True)

    assert outcome.exit_code is ExitCode.NEGATIVE_VERDICT
    assert isinstance(outcome.results[0].error, AccuracyUnkept)
    assert any("scaled the same way" in note for note in outcome.notes)
    assert open_bundle(tmp_path / "out" / "sim-tflite").manifest.verdict == "outside"


@pytest.mark.bed
def test_without_labels_there_is_agreement_and_no_accuracy_and_gelu_and_attention_become_onnx(
    tmp_path: Path,
) -> None:
    outcome = run(tmp_path, "rows_attention.keras", rows=True, evaluation="unlabelled.npz", recipe="fp32")

    assert outcome.exit_code is ExitCode.DONE
    assert any("no labels" in note for note in outcome.notes)
    for result in outcome.results:
        assert result.drop is None
        assert result.verdict == "not-judged"
        assert result.agreement == pytest.approx(1.0, abs=1e-6)


@pytest.mark.bed
def test_recurrent_layers_are_unrolled_and_right(tmp_path: Path) -> None:
    outcome = run(tmp_path, "rows_gru.keras", rows=True)

    assert [result.error for result in outcome.results] == [None, None]
    assert any("unrolled" in note for note in outcome.results[0].notes)
    assert min(result.agreement or 0 for result in outcome.results) > 0.95


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_model_that_carries_code_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelHoldsCode, match="Lambda"):
        run(tmp_path, name)


def test_a_keras_archive_with_damaged_weights_is_unreadable(tmp_path: Path) -> None:
    import zipfile

    damaged = tmp_path / "damaged.keras"
    with zipfile.ZipFile(DATA / "digits.keras") as whole, zipfile.ZipFile(damaged, "w") as archive:
        for name in whole.namelist():
            data = whole.read(name)
            archive.writestr(name, data[: len(data) // 2] if name.endswith(".h5") else data)

    with pytest.raises(ModelUnreadable):
        run(tmp_path, str(damaged))
