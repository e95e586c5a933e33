"""What a profile's engine version was measured not to run is never offered to it, whatever the file's stamp says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from agent.contract.errors import ExitCode, ModelUnsupported
from agent.contract.manifest import ModelFormat
from agent.contract.profile import DeviceProfile
from converters import requirements, tflite_file
from converters.capability.measured import Use
from converters.job import Converted
from edge.conversion import ConversionOutcome, ConversionRequest, convert
from edge.conversion.runnable import check_finite, check_runnable
from tests.conversion.proving import PROFILES, nowhere
from tests.converters.small_models import classifier_onnx

MODEL = Path("model")
ONNX, TFLITE = PROFILES["linux-x86-64"], PROFILES["raspberry-pi-zero-2-w-tflite-runtime"]
ONNX = replace(ONNX, format=ModelFormat.ONNX, engine=PROFILES["sim-onnx"].engine)
HYBRID = Use("FULLY_CONNECTED", 4, "float32 int8/channel float32 > float32")
IN_BLOCKS = Use("FULLY_CONNECTED", 4, "float32 int4/block float32 > float32")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def using(*uses: Use, kind: ModelFormat = ModelFormat.ONNX) -> Converted:
    engines = requirements.engines(kind, uses)
    return Converted(key="k", file="f", inputs=(), outputs=(), engines=engines, uses=uses)


def reason(profile: DeviceProfile, converted: Converted) -> str:
    with pytest.raises(ModelUnsupported) as refusal:
        check_runnable(profile, converted, MODEL)
    return str(refusal.value.facts["reason"])


@pytest.mark.parametrize("use", [HYBRID, IN_BLOCKS])
def test_an_old_stamp_does_not_help_a_file_whose_operators_an_engine_answers_wrongly(use: Use) -> None:
    said = reason(TFLITE, using(use, kind=ModelFormat.TFLITE))
    assert said == f"tflite-runtime 2.14.0, which its boards run, can't run {use}"


def test_the_same_operators_are_offered_to_boards_whose_engine_runs_them() -> None:
    check_runnable(PROFILES["raspberry-pi-zero-2-w"], using(HYBRID, kind=ModelFormat.TFLITE), MODEL)


def test_the_version_that_a_profile_states_decides() -> None:
    newer = using(Use("opset", 22), Use("ir", 10))
    check_runnable(ONNX, newer, MODEL)
    said = reason(replace(ONNX, engine_version="1.18.1"), newer)
    assert said == "onnxruntime 1.18.1, which its boards run, can't run opset 22"


def test_each_version_that_boards_of_a_profile_may_run_has_to_run_it() -> None:
    jetson = PROFILES["jetson-orin-nano"]
    assert "onnxruntime 1.23.2, which its boards run" in reason(jetson, using(Use("opset", 26)))


def test_a_version_older_than_all_that_were_measured_is_offered_nothing() -> None:
    assert "onnxruntime 1.9.0" in reason(replace(ONNX, engine_version="1.9.0"), using(Use("opset", 9)))


def test_a_profile_lowers_what_was_measured_and_never_raises_it() -> None:
    older = replace(ONNX, newest_opset=13, newest_ir=7)
    assert reason(older, using(Use("opset", 14))) == "it has opset 14, and the profile takes 13 at most"
    assert (
        reason(older, using(Use("opset", 13), Use("ir", 8))) == "it has IR 8, and the profile takes 7 at most"
    )
    raised = replace(ONNX, engine_version="1.18.1", newest_opset=28)
    assert "can't run opset 22" in reason(raised, using(Use("opset", 22)))


def test_of_many_operators_the_first_are_named() -> None:
    uses = [replace(HYBRID, version=version) for version in range(1, 6)]
    assert reason(TFLITE, using(*uses, kind=ModelFormat.TFLITE)).endswith(f"{uses[2]} and 2 more")


def run(model: Path, profile: DeviceProfile, recipe: str) -> ConversionOutcome:
    request = ConversionRequest(model=model, profiles=(profile,), output=model.parent / "out", recipe=recipe)
    return convert(request, measure_for=nowhere)


def test_a_model_is_brought_to_the_opset_and_ir_of_the_profile(tmp_path: Path) -> None:
    older = replace(PROFILES["sim-onnx"], newest_opset=13, newest_ir=7)

    outcome = run(classifier_onnx(tmp_path / "m.onnx"), older, "fp32")

    proto = onnx.load(str(tmp_path / "out" / "sim-onnx" / "model.onnx"))
    assert outcome.exit_code is ExitCode.DONE
    assert (proto.opset_import[0].version, proto.ir_version) == (13, 7)


def test_a_file_that_is_taken_as_it_is_and_is_too_new_for_the_version_is_refused(tmp_path: Path) -> None:
    stated = replace(PROFILES["sim-onnx"], engine_version="1.18.1")

    outcome = run(classifier_onnx(tmp_path / "m.onnx", opset=22, ir_version=10), stated, "as-is")

    result = outcome.results[0]
    assert result.error is not None
    assert result.error.code == "model.unsupported"
    assert "onnxruntime 1.18.1, which its boards run, can't run opset 22" in str(result.error)
    assert result.candidates[0].verdict == "refused"
    assert "opset 22" in result.candidates[0].reason
    assert not (tmp_path / "out").exists()


def test_a_real_quantizers_file_is_judged_by_its_operators(tmp_path: Path) -> None:
    """`digits_int8.tflite` is a plain 8-bit file, which every version runs."""
    path = Path(__file__).parents[1] / "data" / "models" / "digits_int8.tflite"
    uses = requirements.tflite_uses(tflite_file.read(path), path)
    check_runnable(TFLITE, using(*uses, kind=ModelFormat.TFLITE), MODEL)


def test_an_artifact_that_overflows_on_a_later_sample_is_refused() -> None:
    counts, scores = np.arange(3), np.ones((3, 1), np.float16)
    check_finite(ONNX, [counts, scores], MODEL)
    scores[2] = np.inf

    with pytest.raises(ModelUnsupported, match="answers with NaN or infinity"):
        check_finite(ONNX, [counts, scores], MODEL)
