"""Environments of frameworks, and whose interpreter makes what."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.contract.errors import (
    ExtraMissing,
    FrameworkFailed,
    FrameworkMissing,
    FrameworkUnknown,
    ModelUnsupported,
    OptionInvalid,
)
from agent.contract.manifest import ModelFormat
from converters.extras import HERE, installed, interpreters
from converters.frameworks.environment import FACTS, made, make, remove
from converters.frameworks.pins import Framework, find, frameworks
from converters.frameworks.python import python_for
from converters.job import ConversionJob, Target
from converters.recipe import built_in
from converters.routes import ROUTES, route
from converters.source import SourceFormat

ROOT = Path(__file__).parents[2]
TINY = Framework(
    name="tiny",
    title="a test",
    pythons=("3.11", "3.12", "3.13"),
    modules=("iniconfig",),
    packages=("iniconfig==2.*",),
)


def job(source: SourceFormat, *kinds: ModelFormat) -> ConversionJob:
    targets = tuple(Target(kind.value, kind, built_in()["fp32"], "x86_64") for kind in kinds)
    return ConversionJob(source="model", source_format=source, targets=targets, folder="folder")


def pretended(name: str, root: Path) -> Path:
    """The folder of an environment as far as it is looked at before it is used; its interpreter is a file."""
    folder = root / find(name).folder_name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    (folder / FACTS).write_text('{"size_bytes": 1, "versions": {}}')
    return folder / "bin/python"


def test_an_environment_that_converts_reads_every_kind_of_data() -> None:
    converting = {name for way in ROUTES.values() for name in way.frameworks}

    assert converting == set(frameworks()) - {"onnx2tf"}
    for name in converting:
        packages = {package.partition("==")[0] for package in find(name).packages}
        assert packages >= {"pillow", "pyarrow"}, name


def test_pins_are_versions_and_no_addresses() -> None:
    for framework in frameworks().values():
        for package in framework.packages:
            assert re.fullmatch(r"[a-z0-9-]+==[0-9]+(\.[0-9]+)*(\.\*)?", package)


def test_other_pins_are_another_environment() -> None:
    names = {framework.folder_name for framework in frameworks().values()}
    assert len(names) == len(frameworks())
    assert find("torch").folder_name.startswith("torch-")


def test_an_unknown_framework_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(FrameworkUnknown, match="did you mean `sklearn`") as error:
        find("sklaern")
    assert "onnx2tf" in str(error.value.hint)


def test_every_pair_of_formats_has_a_way_or_a_reason_and_a_way_out() -> None:
    formats = (ModelFormat.TFLITE, ModelFormat.ONNX)
    assert set(ROUTES) == {(source, target) for source in SourceFormat for target in formats}
    for (source, target), way in ROUTES.items():
        assert bool(way.reason) == bool(way.way_out)
        if way.reason:
            with pytest.raises(ModelUnsupported):
                route(source, target, path="m")
        for name in (*way.frameworks, *filter(None, [way.program])):
            assert set(way.modules) <= set(find(name).modules) | {"onnxruntime"}


@pytest.mark.skipif(installed("torch"), reason="torch is installed here, and would be used")
def test_an_environment_that_is_not_made_is_one_command(tmp_path: Path) -> None:
    for source, kind, name in (
        (SourceFormat.TORCH_EXPORT, ModelFormat.ONNX, "torch"),
        (SourceFormat.TORCH_EXPORT, ModelFormat.TFLITE, "litert-torch"),
        (SourceFormat.SKOPS, ModelFormat.ONNX, "sklearn"),
        (SourceFormat.ONNX, ModelFormat.TFLITE, "onnx2tf"),
    ):
        for environments in (None, tmp_path):
            with pytest.raises(FrameworkMissing) as error:
                interpreters(job(source, kind), environments)
            assert isinstance(error.value, ExtraMissing)
            assert error.value.hint == f"edge frameworks add {name}"


@pytest.mark.skipif(installed("torch"), reason="torch is installed here, and would be used")
def test_each_target_gets_the_interpreter_that_can_make_it(tmp_path: Path) -> None:
    both = job(SourceFormat.TORCH_EXPORT, ModelFormat.ONNX, ModelFormat.TFLITE)
    larger = pretended("litert-torch", tmp_path)
    assert [(item.python, item.own) for item in interpreters(both, tmp_path)] == [(larger, False)]

    smaller = pretended("torch", tmp_path)
    found = interpreters(both, tmp_path)
    assert {item.python: [target.format for target in targets] for item, targets in found.items()} == {
        smaller: [ModelFormat.ONNX],
        larger: [ModelFormat.TFLITE],
    }
    assert list(interpreters(job(SourceFormat.ONNX, ModelFormat.ONNX), tmp_path)) == [HERE]


def test_an_environment_whose_python_is_gone_is_not_there(tmp_path: Path) -> None:
    python = pretended("torch", tmp_path)
    assert made(find("torch"), tmp_path) is not None
    python.unlink()
    assert made(find("torch"), tmp_path) is None


def test_a_python_that_does_not_fit_is_refused() -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert python_for(TINY, Path(sys.executable)) == Path(sys.executable)
    with pytest.raises(OptionInvalid, match="no Python"):
        python_for(TINY, Path("/bin/true"))
    old = Framework(name="old", title="", pythons=("2.7",), modules=(), packages=())
    with pytest.raises(OptionInvalid, match=f"is Python {version}; old needs 2.7"):
        python_for(old, Path(sys.executable))
    with pytest.raises(FrameworkFailed, match=r"needs Python 2\.6"):
        python_for(Framework(name="older", title="", pythons=("2.6",), modules=(), packages=()))


@pytest.mark.bed
@pytest.mark.timeout(900)
def test_an_environment_is_made_once_used_and_removed(tmp_path: Path) -> None:
    said: list[str] = []
    root = tmp_path / "frameworks"
    first = make(TINY, root, log=tmp_path / "log", say=said.append)

    assert first.versions["iniconfig"].startswith("2.")
    assert first.size_bytes > 1_000_000
    assert any(line.startswith("Collecting iniconfig") for line in said)
    code = "import iniconfig, sys; print(sys.prefix)"
    ran = subprocess.run([str(first.python), "-I", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(first.folder)

    said.clear()
    assert make(TINY, root, log=tmp_path / "log", say=said.append) == first
    assert said == []
    assert remove(TINY, root) == 1
    assert [path.name for path in root.iterdir()] == ["lock"]
    assert remove(TINY, root) == 0


@pytest.mark.bed
@pytest.mark.timeout(900)
def test_what_pip_does_not_find_leaves_nothing(tmp_path: Path) -> None:
    wrong = Framework(
        name="tiny", title="", pythons=TINY.pythons, modules=(), packages=("iniconfig==0.0.0.0",)
    )
    with pytest.raises(FrameworkFailed, match="No matching distribution found for iniconfig"):
        make(wrong, tmp_path / "frameworks", log=tmp_path / "log")
    assert [path.name for path in (tmp_path / "frameworks").iterdir()] == ["lock"]
    assert "iniconfig" in (tmp_path / "log").read_text()


MAKING = """
import sys
from pathlib import Path
from converters.frameworks.environment import make
from tests.converters.test_frameworks import TINY
root = Path(sys.argv[1])
make(TINY, root, log=root.parent / "log", say=lambda text: print(text, flush=True))
"""


@pytest.mark.bed
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_what_was_interrupted_is_never_taken_for_an_environment(
    tmp_path: Path, ending: signal.Signals
) -> None:
    root = tmp_path / "frameworks"
    process = subprocess.Popen(
        [sys.executable, "-c", MAKING, str(root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("packages"):
            process.send_signal(ending)
            break
    else:
        pytest.fail("it ended before packages were installed")
    try:
        process.wait(60)
    finally:
        process.kill()

    assert made(TINY, root) is None
    if ending is signal.SIGINT:
        assert [path.name for path in root.iterdir()] == ["lock"]
    _wait_for_pip(root)
    assert make(TINY, root, log=tmp_path / "log").folder.is_dir()
    assert sorted(path.name for path in root.iterdir()) == ["lock", TINY.folder_name]


def _wait_for_pip(root: Path) -> None:
    """A pip whose parent was killed writes on for a moment."""
    deadline = time.monotonic() + 120
    while any(str(root).encode() in _command(entry) for entry in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _command(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:
        return b""
