"""A board beside the proof run here: what it showed is told apart, and one that answers otherwise is a finding.

The board of these tests is a process of this machine; `tests/fleet/test_measure.py` has boards behind SSH.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import BoardAnswersOtherwise, ConnectionLost, ExitCode, MeasurementTooLarge
from agent.transforms.golden import pack, unpack
from edge.bundle import open_bundle
from edge.conversion import ConversionRequest, Measure, MeasureResult, ProfileResult, convert
from edge.conversion.on_board import doubts
from tests.conversion.proving import PROFILES, measure_here, nowhere
from tests.converters.small_models import classifier_onnx, data

ONNX = PROFILES["sim-onnx"]


def run(
    work: Path, board: Measure, *, measure_for=measure_here, recipe: str = "as-is", **wishes: Any
) -> ProfileResult:
    request = ConversionRequest(
        model=classifier_onnx(work / "m.onnx"),
        profiles=(ONNX,),
        output=work / "out",
        recipe=recipe,
        evaluation=data(work / "e.npz", 300),
        **wishes,
    )
    (result,) = convert(request, measure_for=measure_for, boards={ONNX.name: board}).results
    return result


def on_pi(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
    """The engine that is installed here, as if it were a board's."""
    measure = measure_here(ONNX)
    assert measure is not None
    found = measure(bundle, inputs, outputs, repeat)
    return dataclasses.replace(found, platform=f"{found.platform}, on pi", temperature_c=61.0)


def test_what_a_board_showed_stands_beside_what_was_measured_here(tmp_path: Path) -> None:
    result = run(tmp_path, on_pi)

    assert result.error is None
    assert result.board is not None
    assert result.board.platform.endswith(", on pi")
    assert result.proved_in is not None
    assert "on pi" not in result.proved_in
    report = json.loads((tmp_path / "out/sim-onnx/report.json").read_bytes())
    assert report["board"]["p50_ms"] == result.board.p50_ms
    assert report["board"]["temperature_c"] == 61.0
    assert report["here"]["p50_ms"] == result.p50_ms
    (candidate,) = report["candidates"]
    assert (candidate["board_p50_ms"], candidate["p50_ms"]) == (result.board.p50_ms, result.p50_ms)
    assert candidate["board_temperature_c"] == 61.0


def test_a_board_whose_engine_answers_otherwise_is_a_finding_and_no_bundle_is_written(tmp_path: Path) -> None:
    asked: list[int] = []

    def wrong(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        result = on_pi(bundle, inputs, outputs, repeat)
        answers = unpack(outputs)["output_0"]
        asked.append(len(answers))
        outputs.write_bytes(pack({"output_0": np.roll(answers, 1, axis=1)}))
        return result

    result = run(tmp_path, wrong)

    assert isinstance(result.error, BoardAnswersOtherwise)
    assert result.error.exit_code is ExitCode.NEGATIVE_VERDICT
    assert "on pi answers otherwise than onnxruntime" in str(result.error)
    assert asked == [128], "as many samples as a golden set has"
    assert not (tmp_path / "out").exists()


def test_where_nothing_here_runs_the_version_the_board_proves(tmp_path: Path) -> None:
    result = run(tmp_path, on_pi, measure_for=nowhere)

    assert result.error is None
    assert result.proved_in is not None
    assert result.proved_in.endswith(", on pi")
    assert open_bundle(tmp_path / "out/sim-onnx").manifest.golden.proved_in == result.proved_in


def test_a_board_that_is_away_is_no_finding_of_the_artifact(tmp_path: Path) -> None:
    def away(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        raise ConnectionLost(host="pi", doing="measuring")

    result = run(tmp_path, away)

    assert isinstance(result.error, ConnectionLost)
    assert result.exit_code is ExitCode.INCOMPLETE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"throttled": "50005"}, "its supply too weak (50005)"),
        ({"core_part": 0.31}, "got 31% of a core"),
        ({"throttled": "50000", "core_part": 1.9}, None),
    ],
)
def test_what_disturbed_a_boards_times_is_said(changes: dict[str, object], said: str | None) -> None:
    told = doubts(
        MeasureResult(
            engine="litert",
            engine_version="2.3.0",
            platform="aarch64, Python 3.11, on pi",
            p50_ms=1.0,
            p95_ms=1.0,
            memory_mb=1.0,
            **changes,
        )
    )
    assert (said in told[0]) if said else told == ()


def test_a_candidate_that_is_too_large_for_the_board_is_no_reason_against_the_others(tmp_path: Path) -> None:
    def small(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        if open_bundle(bundle).manifest.recipe["name"] == "fp32":
            raise MeasurementTooLarge(device="pi", what="memory", needed_mb=900, free_mb=100)
        return on_pi(bundle, inputs, outputs, repeat)

    result = run(tmp_path, small, recipe="auto", calibration=data(tmp_path / "c.npz", 60))

    assert result.error is None
    assert result.bundle is not None
    reasons = {row.recipe: row.reason for row in result.candidates}
    assert "has no room to run it: about 900 MB of memory are needed, 100 MB are free" in reasons["fp32"]
