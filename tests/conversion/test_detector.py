"""A detector is judged by its boxes, from the command's pipeline and a table of true boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract.errors import DataMismatch, OptionInvalid
from edge.conversion import ConversionRequest, ProfileResult, convert
from edge.conversion.pipeline_file import read_pipeline
from tests.conversion.proving import PROFILES, measure_here, nowhere
from tests.converters.detector import PIPELINE, detector_onnx, photos


def run(folder: Path, *, pipeline: str = PIPELINE, measure_for=nowhere, **wishes) -> ProfileResult:
    (folder / "pipeline.toml").write_text(pipeline)
    request = ConversionRequest(
        model=detector_onnx(folder / "squares.onnx"),
        profiles=(PROFILES["sim-onnx"],),
        output=folder / "out",
        pipeline=read_pipeline(folder / "pipeline.toml"),
        **wishes,
    )
    (result,) = convert(request, measure_for=measure_for).results
    return result


@pytest.mark.parametrize(
    ("metric", "named"), [(None, "map"), pytest.param("map50", "map50", marks=pytest.mark.bed)]
)
def test_an_int8_detector_is_judged_by_its_mean_average_precision(
    tmp_path: Path, metric: str | None, named: str
) -> None:
    data = photos(tmp_path / "photos", 40)

    result = run(
        tmp_path,
        recipe="int8",
        calibration=data,
        evaluation=data,
        metric=metric,
        max_drop_points=6.0,  # corners of 0 to 1 in 8 bits lose some of the overlaps of 0.9 and more
        measure_for=measure_here,
    )

    assert result.error is None
    assert result.drop is not None
    assert (result.drop.metric, result.drop.samples) == (named, 40)
    assert result.drop.float_accuracy == pytest.approx(1.0)
    assert 0.94 < result.drop.accuracy <= 1.0


def test_boxes_that_are_not_found_are_no_precision(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", 40)
    blind = PIPELINE.replace("score = 0.3", "score = 5.0")

    result = run(tmp_path, pipeline=blind, recipe="as-is", evaluation=data)

    assert isinstance(result.error, OptionInvalid)
    assert "finds none of the true boxes" in str(result.error)


def test_boxes_that_can_be_none_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", 3)
    table = data / "labels.csv"
    table.write_text(table.read_text().replace("000.png,", "absent.png,"))

    with pytest.raises(DataMismatch, match=r"no row for `000\.png`"):
        run(tmp_path, recipe="as-is", evaluation=data)
    with pytest.raises(OptionInvalid, match=r"it is of boxes, which takes `task = \"detection\"`"):
        run(tmp_path, pipeline="", recipe="as-is", evaluation=data, metric="map")
