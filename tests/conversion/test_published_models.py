"""Published models with plain defaults; they lie outside of the project (`EDGE_TEST_MODELS`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract.errors import AccuracyUndecided, ExitCode
from edge.conversion import ConversionRequest, convert
from edge.conversion.pipeline_file import read_pipeline
from tests.conversion.proving import PROFILES, measure_here
from tests.conversion.test_same_as_the_agent import PHOTOS

BOTH = (PROFILES["sim-tflite"], PROFILES["sim-onnx"])


@pytest.mark.bed
def test_resnet8_on_cifar10_keeps_its_accuracy(real_models: Path, tmp_path: Path) -> None:
    outcome = convert(
        ConversionRequest(
            model=real_models / "resnet8_cifar10.h5",
            profiles=BOTH,
            output=tmp_path / "out",
            calibration=real_models / "cifar10_calibration.npz",
            evaluation=real_models / "cifar10_eval.npz",
            recipe="int8",
        ),
        measure_for=measure_here,
    )

    for result in outcome.results:
        assert result.drop is not None
        assert result.drop.float_accuracy == pytest.approx(0.764, abs=0.002)
        assert result.drop.drop_points < 1.0
        assert result.size_bytes < 120_000
        assert (result.agreement or 0) > 0.93
        # 2,000 samples hardly tell at one point
        assert isinstance(result.error, AccuracyUndecided | None)


def test_mnist_of_opset_8_becomes_int8_of_opset_17(real_models: Path, tmp_path: Path) -> None:
    outcome = convert(
        ConversionRequest(
            model=real_models / "mnist.onnx",
            profiles=BOTH[1:],
            output=tmp_path / "out",
            calibration=real_models / "mnist_calibration.npz",
            evaluation=real_models / "mnist_eval.npz",
            recipe="int8",
        ),
        measure_for=measure_here,
    )

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.drop is not None
    assert result.drop.float_accuracy == pytest.approx(0.9836)
    assert result.drop.high < 0.5
    assert result.size_bytes < 15_000
    assert (result.report or {})["recipe"]["opset"] == 17


def test_keywords_are_taken_as_they_are_and_are_no_pictures(real_models: Path, tmp_path: Path) -> None:
    outcome = convert(
        ConversionRequest(
            model=real_models / "kws_dscnn_float32.tflite",
            profiles=BOTH[:1],
            output=tmp_path / "out",
            evaluation=real_models / "kws_eval.npz",
            recipe="as-is",
        ),
        measure_for=measure_here,
    )

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.drop is not None
    assert result.drop.accuracy == pytest.approx(0.905)
    assert result.agreement == 1.0
    assert any("no picture's" in note for note in outcome.notes)


@pytest.mark.bed
def test_what_rounding_takes_from_a_mobilenet_is_repaired(real_models: Path, tmp_path: Path) -> None:
    """As the recipe says it loses 22 points of 75: see docs/benchmarks.md."""
    (tmp_path / "photos.toml").write_text(PHOTOS)

    outcome = convert(
        ConversionRequest(
            model=real_models / "mobilenet_v1_0.25_224_float32.tflite",
            profiles=BOTH[:1],
            output=tmp_path / "out",
            calibration=real_models / "photos",
            evaluation=real_models / "photos",
            labels=real_models / "imagenet_labels.txt",
            pipeline=read_pipeline(tmp_path / "photos.toml"),
            recipe="int8",
        ),
        measure_for=measure_here,
    )

    result = outcome.results[0]
    first, last = result.candidates[0].rungs[0], result.candidates[0].rungs[-1]
    assert (first.drop_points or 0) > 15
    assert last.name == "cross-layer-equalization, bias-correction"
    assert (last.drop_points or 0) < 5
    assert (result.agreement or 0) > 0.85
