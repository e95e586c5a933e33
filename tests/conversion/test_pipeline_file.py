"""A pipeline as the user writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract.errors import DataUnreadable, DocumentInvalid
from agent.contract.manifest import Step, Task
from edge.conversion.pipeline_file import DeclaredPipeline, read_pipeline

DETECTOR = """
task = "detection"

[[preprocessing]]
step = "letterbox"
height = 320
width = 320
method = "bilinear"
fill = 114

[[postprocessing]]
step = "boxes"
boxes = 0
scores = 0
classes = -1
format = "cxcywh"
order = "values-first"
unit = "pixels"
objectness = false

[[postprocessing]]
step = "nms"
score = 0.25
overlap = 0.45
limit = 100
"""


def read(folder: Path, text: str) -> DeclaredPipeline:
    (folder / "pipeline.toml").write_text(text)
    declared = read_pipeline(folder / "pipeline.toml")
    declared.check()
    return declared


def test_a_detector_is_declared(tmp_path: Path) -> None:
    declared = read(tmp_path, DETECTOR)

    assert declared.task is Task.DETECTION
    assert declared.preprocessing == (
        Step("letterbox", {"height": 320, "width": 320, "method": "bilinear", "fill": 114}),
    )
    assert [step.op for step in declared.postprocessing or ()] == ["boxes", "nms"]


def test_columns_of_a_table_are_declared(tmp_path: Path) -> None:
    table = read(tmp_path, '[table]\ncolumns = ["height", "width"]\nlabel = "kind"').table

    assert (table.columns, table.label) == (("height", "width"), "kind")


def test_what_is_not_named_stays_derived(tmp_path: Path) -> None:
    assert read(tmp_path, 'task = "regression"') == DeclaredPipeline(task=Task.REGRESSION)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[table]\ncolumns = ["a", "a"]', "names, each once"),
        ('[table]\ncolumns = ["a", "b"]\nlabel = "a"', "another column"),
        ('[table]\nfeatures = ["a"]', "not 'features'"),
        ("table = 3", "not 3"),
        ('task = "guessing"', "must be one of classification"),
        ("preprocess = []", "`preprocess` is none of"),
        ('preprocessing = ["rgb"]', "each with `step`"),
        ('[[preprocessing]]\nstep = "blur"', "no step that edge knows"),
        ('task = "detection"', "needs the step `boxes`"),
        ('task = "anomaly"\n[[postprocessing]]\nstep = "reduce"\nby = "max"', "needs the step `threshold`"),
        ('task = "embedding"\n[[postprocessing]]\nstep = "top-k"\nk = 3', "`top-k` is for classification"),
        ('[[postprocessing]]\nstep = "softmax"\n[postprocessing.step]', "Cannot"),
    ],
)
def test_a_pipeline_that_leads_nowhere_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises((DocumentInvalid, DataUnreadable), match=words):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match="No such file"):
        read_pipeline(tmp_path / "pipeline.toml")
