"""ONNX and TFLite models for boards, with and without data, with and without a proof environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from agent.contract.errors import (
    AccuracyUndecided,
    AgreementBelowFloor,
    CalibrationMissing,
    DataMismatch,
    EdgeError,
    ExitCode,
    FrameworkMissing,
    InferenceFailed,
    ModelUnreadable,
    NameInvalid,
    OptionInvalid,
    ProofFailed,
    RecipeUnknown,
)
from agent.contract.manifest import EngineName, GoldenOrigin, Step, Task
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import read_golden
from edge.bundle import open_bundle
from edge.conversion import ConversionOutcome, ConversionRequest, Measure, MeasureResult, convert
from edge.conversion.pipeline_file import DeclaredPipeline, read_pipeline
from tests.conversion.proving import PROFILES, measure_here, nowhere
from tests.converters.small_models import classifier_onnx, data

TFLITE, ONNX = PROFILES["sim-tflite"], PROFILES["sim-onnx"]


def run(
    model: Path, profile: DeviceProfile = ONNX, *, measure_for=measure_here, **wishes
) -> ConversionOutcome:
    request = ConversionRequest(model=model, profiles=(profile,), output=model.parent / "out", **wishes)
    return convert(request, measure_for=measure_for)


def test_a_place_that_can_hold_no_bundle_is_refused_before_any_work(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx")
    request = ConversionRequest(model=model, profiles=(ONNX,), output=model / "inside" / "out", recipe="fp32")

    with pytest.raises(OptionInvalid, match=r"--output: .*m\.onnx` is no folder that can be written to"):
        convert(request, measure_for=nowhere)


def test_one_score_of_two_classes_is_judged_by_its_area_under_the_curve(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx", softmax=False)
    proto = onnx.load(model)
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0])[:, :1]
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(proto, str(model))
    x = np.random.default_rng(1).random((500, 6), dtype=np.float32)
    np.savez(tmp_path / "e.npz", x=x, y=(x[:, 0] > 0.5).astype(np.int64))

    result = run(model, evaluation=tmp_path / "e.npz", recipe="fp16").results[0]

    assert result.drop is not None
    assert (result.drop.metric, result.verdict) == ("auc", "within")
    assert result.drop.accuracy > 0.99


def test_an_onnx_model_becomes_int8(tmp_path: Path) -> None:
    outcome = run(
        classifier_onnx(tmp_path / "My Model.onnx"),
        calibration=data(tmp_path / "c.npz", 100, labelled=False),
        evaluation=data(tmp_path / "e.npz", 2000, seed=1),
        max_drop_points=2.0,
        recipe="int8",
    )

    manifest = open_bundle(tmp_path / "out" / "sim-onnx").manifest
    assert outcome.exit_code is ExitCode.DONE
    assert manifest.model == "my-model"
    assert manifest.requires.architectures == ("x86_64",)
    assert manifest.requires.engines == {"onnxruntime": "1.16.0"}
    assert manifest.recipe["activations"].startswith("uint8")
    assert manifest.outputs[0].scale is not None


def test_arm_boards_get_signed_activations(tmp_path: Path) -> None:
    arm = next(
        p for p in PROFILES.values() if p.architecture == "aarch64" and p.engine is EngineName.ONNXRUNTIME
    )

    run(classifier_onnx(tmp_path / "m.onnx"), arm, calibration=data(tmp_path / "c.npz", 100), recipe="int8")

    manifest = open_bundle(tmp_path / "out" / arm.name).manifest
    assert manifest.requires.architectures == ("aarch64",)
    assert manifest.recipe["activations"].startswith("int8")
    assert manifest.golden.origin is GoldenOrigin.CALIBRATION
    assert manifest.golden.samples == 100


@pytest.mark.parametrize(("opset", "ir", "kept"), [(13, 7, 17), (20, 9, 17)])
def test_another_opset_is_brought_to_17(tmp_path: Path, opset: int, ir: int, kept: int) -> None:
    run(classifier_onnx(tmp_path / "m.onnx", opset=opset, ir_version=ir), recipe="fp32")

    proto = onnx.load(str(tmp_path / "out" / "sim-onnx" / "model.onnx"))
    assert (proto.opset_import[0].version, proto.ir_version) == (kept, 8)


def test_a_model_without_data_is_taken_as_it_is_with_a_sanity_set(tmp_path: Path) -> None:
    outcome = run(classifier_onnx(tmp_path / "m.onnx", opset=20, ir_version=9), recipe="as-is")

    bundle = open_bundle(tmp_path / "out" / "sim-onnx")
    golden = read_golden(bundle.path("golden.npz"))
    assert outcome.exit_code is ExitCode.DONE
    assert bundle.path("model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert bundle.manifest.requires.engines == {"onnxruntime": "1.17.0"}
    assert bundle.manifest.golden.origin is GoldenOrigin.SANITY
    assert (bundle.manifest.golden.floor, bundle.manifest.golden.agreement) == (None, None)
    assert golden.float_outputs == ()
    assert len(golden.proof) == 1
    assert outcome.results[0].agreement is None


def test_without_a_proof_environment_the_board_s_trial_is_the_first_run_and_the_report_says_so(
    tmp_path: Path,
) -> None:
    outcome = run(
        classifier_onnx(tmp_path / "m.onnx"),
        measure_for=nowhere,
        evaluation=data(tmp_path / "e.npz", 500),
        recipe="as-is",
    )

    golden = open_bundle(tmp_path / "out" / "sim-onnx").manifest.golden
    result = outcome.results[0]
    assert golden.proved_in is None
    assert read_golden(tmp_path / "out" / "sim-onnx" / "golden.npz").proof == ()
    assert result.drop is not None
    assert (result.drop.low, result.drop.high, result.verdict) == (0.0, 0.0, "within")
    assert any("first run" in note and "onnxruntime 1." in note for note in result.notes)


def test_a_tflite_file_needs_no_data_and_no_tensorflow(tmp_path: Path) -> None:
    model = tmp_path / "digits.tflite"
    model.write_bytes((Path(__file__).parents[1] / "data" / "models" / "digits_int8.tflite").read_bytes())

    outcome = run(model, TFLITE)

    bundle = open_bundle(tmp_path / "out" / "sim-tflite")
    assert outcome.exit_code is ExitCode.DONE
    assert bundle.manifest.recipe["name"] == "as-is"
    assert bundle.path("model.tflite").read_bytes() == model.read_bytes()
    assert read_golden(bundle.path("golden.npz")).inputs[0].dtype == np.dtype(bundle.manifest.inputs[0].dtype)


def test_too_few_held_out_samples_can_t_tell(tmp_path: Path) -> None:
    outcome = run(
        classifier_onnx(tmp_path / "m.onnx"), evaluation=data(tmp_path / "e.npz", 20), recipe="fp32"
    )

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert isinstance(result.error, AccuracyUndecided)
    assert result.error.hint == "about 382 samples would tell"
    assert result.verdict == "undecided"
    assert not (tmp_path / "out").exists()


def other_answers(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
    """A runtime that answers something else than the model says."""
    with np.load(inputs) as arrays:
        count = len(arrays["input_0"])
    np.savez(outputs, output_0=np.tile(np.array([[1, 0, 0, 0]], np.float32), (count, 1)))
    return MeasureResult(
        engine="onnxruntime", engine_version="0", platform="nowhere", p50_ms=1.0, p95_ms=1.0, memory_mb=1.0
    )


def refuses(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
    """A runtime that crashes on the model."""
    raise InferenceFailed(model="m", reason="SIGSEGV ended it")


def proof_by(measure: Measure):
    return lambda profile: measure


def test_an_artifact_that_answers_otherwise_in_the_board_s_runtime_is_refused(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx")
    unlabelled = data(tmp_path / "e.npz", 300, labelled=False)

    outcome = run(model, measure_for=proof_by(other_answers), evaluation=unlabelled, recipe="fp32")
    assert isinstance(outcome.results[0].error, AgreementBelowFloor)
    assert outcome.exit_code is ExitCode.NEGATIVE_VERDICT
    assert not (tmp_path / "out").exists()

    outcome = run(
        model, measure_for=proof_by(other_answers), evaluation=unlabelled, recipe="fp32", keep_failed=True
    )
    assert open_bundle(tmp_path / "out" / "sim-onnx").manifest.verdict == "outside"
    assert outcome.exit_code is ExitCode.NEGATIVE_VERDICT


def test_a_float_conversion_that_lost_its_weights_is_found_on_made_up_numbers(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx")

    outcome = run(model, measure_for=proof_by(other_answers), recipe="fp32")

    assert isinstance(outcome.results[0].error, AgreementBelowFloor)


def test_an_artifact_that_does_not_run_in_the_board_s_runtime_is_refused(tmp_path: Path) -> None:
    outcome = run(
        classifier_onnx(tmp_path / "m.onnx"), measure_for=proof_by(refuses), recipe="fp32", keep_failed=True
    )

    assert isinstance(outcome.results[0].error, ProofFailed)
    assert "SIGSEGV" in str(outcome.results[0].error)
    assert outcome.exit_code is ExitCode.NEGATIVE_VERDICT
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_the_request_is_said_before_anything_starts(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx")
    began = time.monotonic()

    with pytest.raises(CalibrationMissing):
        run(model, recipe="int8")
    with pytest.raises(RecipeUnknown):
        run(model, recipe="int9")
    with pytest.raises(FrameworkMissing):
        run(model, TFLITE, recipe="fp32")
    with pytest.raises(NameInvalid):
        run(model, name="../x", recipe="fp32")
    with pytest.raises(OptionInvalid):
        run(model, input_scale=(1.0, 0.0), recipe="fp32")
    with pytest.raises(OptionInvalid):
        run(model, max_drop_points=-1.0, recipe="fp32")
    (tmp_path / "out" / "sim-onnx").mkdir(parents=True)
    with pytest.raises(OptionInvalid, match="no bundle"):
        run(model, recipe="fp32")

    assert time.monotonic() - began < 2


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = classifier_onnx(tmp_path / "m.onnx")
    np.savez(tmp_path / "wide.npz", x=np.zeros((9, 7), np.float32))
    np.savez(tmp_path / "large.npz", x=np.full((9, 6), 1e39))
    (tmp_path / "labels.txt").write_text("a\nb\n")

    for name in ("wide", "large"):
        with pytest.raises(DataMismatch, match="calibration data"):
            run(model, recipe="int8", calibration=tmp_path / f"{name}.npz")
    with pytest.raises(DataMismatch, match="2 labels"):
        run(model, recipe="fp32", labels=tmp_path / "labels.txt")
    assert not (tmp_path / "out").exists()


def test_every_cut_of_an_onnx_model_is_unreadable(tmp_path: Path) -> None:
    whole = classifier_onnx(tmp_path / "m.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in (len(whole) // 3, len(whole) - 3, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelUnreadable):
            run(cut, recipe="fp32")


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "link.bin", "none.bin"])
def test_weights_from_outside_of_the_model_s_folder_are_never_read(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 96)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    proto = onnx.load(str(classifier_onnx(folder / "m.onnx")))
    onnx.external_data_helper.set_external_data(proto.graph.initializer[0], place)
    proto.graph.initializer[0].ClearField("raw_data")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())

    with pytest.raises(ModelUnreadable, match="weights"):
        run(folder / "m.onnx", recipe="fp32")


def test_weights_beside_the_model_are_put_into_the_artifact(tmp_path: Path) -> None:
    proto = onnx.load(str(classifier_onnx(tmp_path / "m.onnx")))
    onnx.save(proto, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (tmp_path / "m.bin").exists()

    outcome = run(tmp_path / "m.onnx", recipe="as-is")

    assert outcome.exit_code is ExitCode.DONE
    assert any("external data" in note for note in outcome.results[0].notes)
    assert len(open_bundle(tmp_path / "out" / "sim-onnx").manifest.files) == 3


def test_task_and_steps_that_the_user_declares_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text('task = "embedding"\n[[postprocessing]]\nstep = "l2-normalize"\n')

    run(classifier_onnx(tmp_path / "m.onnx"), recipe="as-is", pipeline=read_pipeline(file))

    manifest = open_bundle(tmp_path / "out" / "sim-onnx").manifest
    assert manifest.task is Task.EMBEDDING
    assert manifest.postprocessing == (Step("l2-normalize"),)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (
            DeclaredPipeline(preprocessing=(Step("dtype", {"to": "float32"}),)),
            r"\[64, 64, 3\].*takes \[1, 6\]",
        ),
        (DeclaredPipeline(task=Task.SEGMENTATION, postprocessing=()), r"ends with the shape \[4\]"),
    ],
)
def test_declared_steps_that_do_not_fit_the_model_are_refused(
    tmp_path: Path, declared: DeclaredPipeline, words: str
) -> None:
    outcome = run(classifier_onnx(tmp_path / "m.onnx"), recipe="as-is", pipeline=declared)

    with pytest.raises(EdgeError, match=words):
        raise outcome.results[0].error or AssertionError("it was admitted")


CONVERTING = """
import sys
from pathlib import Path
from edge.conversion import ConversionRequest, convert
from tests.conversion.proving import PROFILES, nowhere
class Told:
    def step(self, text): print(text, flush=True)
    def transfer(self, *a): pass
model, output = map(Path, sys.argv[1:])
request = ConversionRequest(
    model=model, profiles=(PROFILES["sim-tflite"],), output=output, recipe="fp32", use_cache=False
)
convert(request, measure_for=nowhere, progress=Told())
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_conversion_leaves_no_process_and_no_bundle(
    tmp_path: Path, ending: signal.Signals
) -> None:
    root, temporary = Path(__file__).parents[2], tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CONVERTING,
            str(root / "tests/conversion/data/digits.keras"),
            str(tmp_path / "out"),
        ],
        cwd=root,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (children := _workers(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert children

    process.send_signal(ending)
    process.wait(30)
    while any(Path(f"/proc/{child}/cmdline").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children)
    assert not (tmp_path / "out").exists()
    if ending is signal.SIGINT:
        assert list(temporary.iterdir()) == []


def _workers(parent: int) -> list[int]:
    """Worker processes of a conversion."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [
        int(child)
        for child in children
        if b"converters.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
