"""Child processes that crash, hang or are killed, and packages that are not installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.errors import ConversionCrashed
from agent.contract.manifest import ModelFormat
from converters.convert import convert
from converters.job import ConversionJob, Stage, Target
from converters.recipe import built_in
from converters.source import SourceFormat
from tests.converters.small_models import classifier_onnx

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "tests" / "conversion" / "data" / "digits.keras"


def job(folder: Path, *recipes: str) -> ConversionJob:
    targets = tuple(
        Target(f"{number}-{recipe}", ModelFormat.TFLITE, built_in()[recipe], "x86_64", answer_here=True)
        for number, recipe in enumerate(recipes)
    )
    return ConversionJob(
        source=str(DIGITS), source_format=SourceFormat.KERAS, targets=targets, folder=str(folder)
    )


def workers() -> list[int]:
    """Process ids of the workers that this process started."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"converters.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_a_crash_costs_the_target_that_it_happens_to_and_leaves_no_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "everybody's"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    def crash_once(stage: Stage) -> None:
        if stage.name == "freeze the graph" and stage.target == "0-fp32":
            os.kill(workers()[0], signal.SIGSEGV)

    result = convert(job(tmp_path, "fp32", "fp32"), log=tmp_path / "log", on_stage=crash_once)

    assert list(result.converted) == ["1-fp32"]
    error = result.errors["0-fp32"]
    assert isinstance(error, ConversionCrashed)
    assert "SIGSEGV in" in str(error)
    assert error.facts["log"] == tmp_path / "log"
    assert [stage.name for stage in result.stages].count("start TensorFlow") == 2
    assert workers() == []
    assert list(temporary.iterdir()) == []


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ConversionCrashed, match="took longer"):
        convert(job(tmp_path, "fp32"), log=tmp_path / "log", timeout_s=1.0)

    assert workers() == []


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    import numpy

    site = Path(numpy.__file__).parents[1]
    for name in [path.name for path in site.glob("numpy*")]:
        (tmp_path / name).symlink_to(site / name)
    code = (
        "import sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\n"
        "from agent.contract.errors import ExtraMissing\n"
        "from agent.contract.manifest import ModelFormat\n"
        "from converters.extras import require\n"
        "from converters.job import Target\n"
        "from converters.recipe import built_in\n"
        "from converters.source import recognise\n"
        "target = Target('t', ModelFormat(sys.argv[2]), built_in()['fp32'], 'x86_64')\n"
        "try:\n"
        "    require(recognise(Path(sys.argv[1])), [target])\n"
        "except ExtraMissing as error:\n"
        "    print(error); print(error.hint)\n"
    )

    def says(model: Path, kind: str) -> str:
        done = subprocess.run(
            [sys.executable, "-S", "-c", code, str(model), kind, str(ROOT), str(tmp_path)],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    said = says(DIGITS, "tflite")
    assert said.startswith("this needs `tensorflow`, which is not installed\n")
    assert "[tensorflow]" in said
    said = says(classifier_onnx(tmp_path / "m.onnx"), "onnx")
    assert said.startswith("this needs `onnx`, which is not installed\n")
    assert "[onnx]" in said
