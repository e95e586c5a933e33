"""`--recipe auto`: candidates, the ladder of repairs, the choice, and what is said where nothing is good enough."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import AccuracyUndecided, AccuracyUnkept, ExitCode, ModelUnsupported, OptionInvalid
from edge.bundle import open_bundle
from edge.conversion import ConversionOutcome, ConversionRequest, convert
from edge.conversion.choice import LATENCY, SIZE, choose, nearest
from edge.conversion.page import page
from edge.conversion.request import ProfileResult, Row
from tests.conversion.digits import digits
from tests.conversion.proving import PROFILES, measure_here, nowhere
from tests.converters.imbalanced import imbalanced
from tests.converters.small_models import classifier_onnx

X, Y = digits()
NCHW = X.transpose(0, 3, 1, 2)
IMBALANCED = Path(__file__).parents[1] / "converters" / "data" / "imbalanced.keras"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The imbalanced net as ONNX with its data."""
    folder = tmp_path_factory.mktemp("given")
    imbalanced(folder / "net.onnx", X[:700], Y[:700])
    imbalanced(folder / "limited.onnx", X[:700], Y[:700], spread=3.0, limit=6.0)
    np.savez(folder / "calibration.npz", x=NCHW[700:897])
    np.savez(folder / "held-out.npz", x=NCHW[897:], y=Y[897:])
    np.savez(folder / "few.npz", x=NCHW[897:917], y=Y[897:917])
    np.savez(folder / "unlabelled.npz", x=NCHW[897:])
    return folder


def run(
    given: Path,
    output: Path,
    *,
    model: str = "net.onnx",
    max_drop: float = 1.5,
    evaluation: str = "held-out.npz",
    **wishes: object,
) -> ConversionOutcome:
    return convert(
        ConversionRequest(
            model=given / model,
            profiles=(PROFILES["sim-onnx"],),
            output=output,
            calibration=given / "calibration.npz",
            evaluation=given / evaluation,
            max_drop_points=max_drop,
            **wishes,  # type: ignore[arg-type]
        ),
        measure_for=measure_here,
    )


@pytest.fixture(scope="module")
def repaired(given: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConversionOutcome]:
    """The imbalanced net by int8."""
    folder = tmp_path_factory.mktemp("repaired")
    return folder / "out", run(given, folder / "out", recipe="int8")


def test_an_imbalanced_net_is_repaired_and_not_refused(repaired: tuple[Path, ConversionOutcome]) -> None:
    folder, outcome = repaired
    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.verdict == "within"
    row = result.candidates[0]
    assert row.rungs[0].drop_points > 50
    assert row.rungs[-1].name.startswith("cross-layer-equalization")
    assert result.drop is not None
    assert result.drop.drop_points < 1.5
    report = json.loads((folder / "sim-onnx" / "report.json").read_text())
    assert report["recipe"]["repairs"][0] == "cross-layer-equalization"
    assert report["candidates"][0]["rungs"][0]["name"] == "as the recipe says"


def test_the_page_shows_the_report_and_needs_nothing_else(repaired: tuple[Path, ConversionOutcome]) -> None:
    shown = page(repaired[1])

    for told in (
        "Candidates",
        "Repairs tried",
        "cross-layer-equalization",
        "Confusion matrix",
        "<svg",
        "int8",
    ):
        assert told in shown
    for elsewhere in ("http:", "https:", "src=", "url(", "<script", "<link"):
        assert elsewhere not in shown


def test_names_in_the_page_are_text_and_no_markup(repaired: tuple[Path, ConversionOutcome]) -> None:
    (result,) = repaired[1].results
    assert result.report is not None
    report = dict(
        result.report,
        notes=["<b>bold</b>"],
        labels=["<i>"] * 10,
        accuracy=result.report["accuracy"] | {"metric": "<u>own.py:score"},
    )
    shown = page(replace(repaired[1], model="<s>", results=(replace(result, report=report),)))

    assert "&lt;u&gt;own.py:score" in shown
    assert not [mark for mark in ("<b>", "<i>", "<u>", "<s>") if mark in shown]


def test_the_page_says_why_a_profile_has_no_artifact() -> None:
    refused = ProfileResult(
        profile="sim-tflite",
        recipe="int8",
        format="tflite",
        candidates=(Row(recipe="int8", verdict="refused", reason="no way"),),
        error=ModelUnsupported(path="m.<pkl>", target="tflite", reason="no converter", way_out="take ONNX"),
    )
    shown = page(ConversionOutcome(model="m", results=(refused,)))

    assert "m for sim-tflite" in shown
    assert "no converter" in shown
    assert "take ONNX" in shown
    assert "no way" in shown
    assert "<pkl>" not in shown


@pytest.mark.bed
def test_the_same_net_in_keras_is_repaired_for_tflite(tmp_path: Path) -> None:
    np.savez(tmp_path / "calibration.npz", x=X[700:897])
    np.savez(tmp_path / "held-out.npz", x=X[897:], y=Y[897:])
    outcome = convert(
        ConversionRequest(
            model=IMBALANCED,
            profiles=(PROFILES["sim-tflite"],),
            output=tmp_path / "out",
            recipe="int8",
            calibration=tmp_path / "calibration.npz",
            evaluation=tmp_path / "held-out.npz",
            max_drop_points=1.5,
        ),
        measure_for=measure_here,
    )

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.candidates[0].rungs[0].drop_points > 10
    assert result.candidates[0].rungs[-1].name.startswith("cross-layer-equalization")
    assert result.verdict == "within"
    assert (result.report or {})["recipe"]["repairs"][0] == "cross-layer-equalization"


@pytest.mark.bed
def test_auto_tries_the_candidates_and_takes_the_smallest_that_keeps_its_accuracy(
    given: Path, tmp_path: Path
) -> None:
    outcome = run(given, tmp_path / "out", prefer=SIZE)

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    rows = {row.recipe: row for row in result.candidates}
    assert {"as-is", "fp32", "fp16", "int8-dynamic", "int8", "int8-tensor", "int4"} == set(rows)
    assert [row.recipe for row in result.candidates if row.chosen] == [result.recipe]
    assert rows["int4"].verdict == "outside"
    assert rows["int4"].reason.startswith("accuracy falls by")
    assert rows["int8-dynamic"].rungs[-1].name == "cross-layer-equalization"
    assert rows["int8"].verdict == "within"
    assert result.size_bytes < rows["fp32"].size_bytes
    assert open_bundle(tmp_path / "out" / "sim-onnx", digest=result.digest).manifest.verdict == "within"


def test_what_cannot_be_kept_is_refused_with_the_layers_that_lose_most(given: Path, tmp_path: Path) -> None:
    outcome = run(given, tmp_path / "out", recipe="int8", model="limited.onnx")

    error, row = outcome.results[0].error, outcome.results[0].candidates[0]
    assert outcome.exit_code is ExitCode.NEGATIVE_VERDICT
    assert isinstance(error, AccuracyUnkept)
    assert row.layers
    assert f"`{row.layers[0].name}`" in str(error.hint)
    assert {layer.name for layer in row.layers} <= {"stem", "depthwise", "pointwise", "digit"}
    assert [layer.sqnr_db for layer in row.layers] == sorted(layer.sqnr_db for layer in row.layers)
    assert {rung.name for rung in row.rungs} >= {"cross-layer-equalization", "1 layer left in float"}
    assert not (tmp_path / "out" / "sim-onnx").exists()


def test_without_enough_samples_nothing_is_decided(given: Path, tmp_path: Path) -> None:
    outcome = run(given, tmp_path / "out", recipe="int8", evaluation="few.npz")

    error = outcome.results[0].error
    assert isinstance(error, AccuracyUndecided)
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert "too few samples (20)" in str(error)
    assert not (tmp_path / "out" / "sim-onnx").exists()


def test_without_labels_it_is_agreement_that_is_kept(given: Path, tmp_path: Path) -> None:
    outcome = run(given, tmp_path / "out", recipe="int8", evaluation="unlabelled.npz")

    row = outcome.results[0].candidates[0]
    assert row.drop is None
    assert row.agreement > 0.9
    assert len(row.rungs) > 1


ROWS = (
    Row(recipe="fp32", verdict="within", size_bytes=400, p50_ms=1.0),
    Row(recipe="int8", verdict="within", size_bytes=110, p50_ms=1.2),
    Row(recipe="int8-dynamic", verdict="within", size_bytes=100, p50_ms=9.0),
    Row(recipe="int4", verdict="outside", size_bytes=60, p50_ms=0.5, reason="it lost 5 points"),
)


def test_smaller_is_not_sold_as_faster() -> None:
    assert choose(ROWS, None) == 1
    assert choose(ROWS, SIZE) == 2
    assert choose(ROWS, LATENCY) == 0
    assert choose(ROWS[3:], None) is None
    assert nearest(ROWS[3:]) == 0


@pytest.mark.parametrize(
    ("fastest_ms", "other_ms", "taken"), [(0.011, 0.026, 1), (0.011, 0.095, 0), (1.0, 1.9, 1), (1.0, 2.1, 0)]
)
def test_what_two_runs_of_the_measurement_differ_by_decides_nothing(
    fastest_ms: float, other_ms: float, taken: int
) -> None:
    rows = (
        Row(recipe="int8", verdict="within", size_bytes=110, p50_ms=fastest_ms),
        Row(recipe="int8-dynamic", verdict="within", size_bytes=100, p50_ms=other_ms),
    )
    assert choose(rows, None) == taken


def test_the_latency_of_the_board_counts_where_there_is_one() -> None:
    rows = (
        Row(recipe="fp32", verdict="within", size_bytes=400, p50_ms=1.0, board_p50_ms=30.0),
        Row(recipe="int8", verdict="within", size_bytes=110, p50_ms=5.0, board_p50_ms=10.0),
    )
    assert choose(rows, LATENCY) == 1
    assert choose(rows, None) == 1


@pytest.mark.parametrize(
    ("recipe", "words"),
    [("auto", "nothing here runs an artifact for `sim-onnx`"), ("fp32", "chooses among the candidates")],
)
def test_the_fastest_is_not_wished_for_where_nothing_can_tell_it(
    tmp_path: Path, recipe: str, words: str
) -> None:
    request = ConversionRequest(
        model=classifier_onnx(tmp_path / "m.onnx"),
        profiles=(PROFILES["sim-onnx"],),
        output=tmp_path / "out",
        recipe=recipe,
        prefer=LATENCY,
    )

    with pytest.raises(OptionInvalid, match=words):
        convert(request, measure_for=nowhere)
