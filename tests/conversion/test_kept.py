"""The same conversion is made once; whatever could make it another is seen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from agent.contract.errors import DataMismatch
from agent.contract.manifest import ModelFormat
from converters.calibration.source import DataKind, DataSource
from converters.contract import Contract
from converters.job import ConversionJob, Target
from converters.recipe import find
from converters.source import SourceFormat, Trust
from edge.conversion import ConversionRequest, ProfileResult, convert, kept
from tests.conversion.proving import PROFILES, Told, measure_here
from tests.converters.small_models import classifier_onnx, data


def run(given: Path, told: Told | None = None, **wishes: Any) -> tuple[ProfileResult, bool]:
    """What comes of it, and whether that was taken from before."""
    told = told or Told()
    request = ConversionRequest(
        model=given / "m.onnx",
        profiles=(PROFILES["sim-onnx"],),
        output=given / "out",
        recipe="int8",
        calibration=given / "c.npz",
        evaluation=given / "e.npz",
        max_drop_points=5.0,
        **wishes,
    )
    (result,) = convert(request, measure_for=measure_here, progress=told).results
    return result, any("the same was converted on" in step for step in told.steps)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its data."""
    folder = tmp_path_factory.mktemp("kept")
    classifier_onnx(folder / "m.onnx")
    data(folder / "c.npz", 60)
    data(folder / "e.npz", 300, seed=1)
    return folder


@pytest.fixture(scope="module")
def twice(given: Path, own_cache: Path) -> list[tuple[ProfileResult, bool]]:
    """The same conversion, again and again."""
    del own_cache
    return [run(given), run(given, name="another"), run(given, use_cache=False)]


def test_the_second_time_the_same_bundle_is_there_without_a_conversion(
    twice: list[tuple[ProfileResult, bool]],
) -> None:
    (first, was_kept), (second, is_kept), (_, without) = twice

    assert (was_kept, is_kept, without) == (False, True, False)
    assert second.bundle is not None
    assert second.drop == first.drop
    assert second.proved_in is not None, "the proof is made each time"
    assert second.report["artifact"]["sha256"] == first.report["artifact"]["sha256"]


@pytest.mark.parametrize("damage", ["cut", "gone", "not-json", "elsewhere", "nothing-named", "none"])
def test_what_is_not_whole_is_as_if_it_were_not_there(
    twice: list[tuple[ProfileResult, bool]], own_cache: Path, tmp_path: Path, damage: str
) -> None:
    del twice
    (tmp_path / "job").mkdir()
    shutil.copytree(own_cache / "conversions", tmp_path / "kept")
    (place,) = (path for path in (tmp_path / "kept").iterdir() if path.is_dir())
    artifact = next(path for path in place.iterdir() if path.suffix == ".onnx")
    if damage == "cut":
        artifact.write_bytes(artifact.read_bytes()[:-1])
    elif damage == "gone":
        artifact.unlink()
    elif damage == "not-json":
        (place / kept.ANSWERS).write_text("{")
    elif damage != "none":
        told = json.loads((place / kept.ANSWERS).read_bytes())
        (place.parent / "elsewhere").write_bytes(b"")
        outside = {"../elsewhere": hashlib.sha256(b"").hexdigest()}
        told["files"] = {**told["files"], **outside} if damage == "elsewhere" else {}
        (place / kept.ANSWERS).write_text(json.dumps(told))

    found = kept.take(tmp_path / "kept", place.name, tmp_path / "job")
    assert (found is not None) is (damage == "none")


def test_a_model_that_changes_meanwhile_is_not_kept(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(given, tmp_path / "given")

    class Meddling(Told):
        def step(self, text: str) -> None:
            super().step(text)
            if not text.startswith("proved"):
                (folder / "m.onnx").write_bytes(
                    classifier_onnx(folder / "other.onnx", softmax=False).read_bytes()
                )

    run(folder, told=Meddling())
    assert not (tmp_path / "cache/conversions").exists()


def test_what_others_remove_meanwhile_is_no_error(
    twice: list[tuple[ProfileResult, bool]], own_cache: Path, tmp_path: Path
) -> None:
    del twice
    (place,) = (path for path in (own_cache / "conversions").iterdir() if path.is_dir())
    shutil.copytree(place, tmp_path / "job")
    found = kept.take(own_cache / "conversions", place.name, tmp_path / "job")
    assert found is not None
    shared, failures = tmp_path / "kept", []

    def again(work: Callable[[], object]) -> None:
        for _ in range(60):
            try:
                work()
            except OSError as error:
                failures.append(error)

    works: list[Callable[[], object]] = [
        lambda: kept.keep(shared, "k", tmp_path / "job", found[0]),
        lambda: kept.keep(shared, "k", tmp_path / "job", found[0]),
        lambda: kept.take(shared, "k", tmp_path / "job"),
    ]
    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert kept.take(shared, "k", tmp_path / "job") is not None


def job(given: Path) -> ConversionJob:
    def source(name: str) -> DataSource:
        return DataSource(location=str(given / name), kind=DataKind.ARRAYS)

    return ConversionJob(
        source=str(given / "m.onnx"),
        source_format=SourceFormat.ONNX,
        targets=(Target("onnx-int8", ModelFormat.ONNX, find("int8"), "x86_64"),),
        folder="somewhere",
        calibration=source("c.npz"),
        evaluation=source("e.npz"),
        contract=Contract(max_drop_points=1.0),
    )


def other_weights(asked: ConversionJob) -> ConversionJob:
    proto = onnx.load(asked.source)
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    onnx.save(proto, asked.source)
    return asked


def other_weights_beside(asked: ConversionJob) -> ConversionJob:
    path = Path(asked.source).with_name("beside.bin")
    path.write_bytes(path.read_bytes()[::-1])
    return asked


def other_data(asked: ConversionJob) -> ConversionJob:
    assert asked.calibration is not None
    data(asked.calibration.path, 61)
    return asked


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (other_weights, False),
        (other_weights_beside, False),
        (other_data, False),
        (lambda asked: replace(asked, targets=(replace(asked.targets[0], recipe=find("fp16")),)), False),
        (lambda asked: replace(asked, targets=(replace(asked.targets[0], architecture="aarch64"),)), False),
        (lambda asked: replace(asked, contract=Contract(max_drop_points=2.0)), False),
        (lambda asked: replace(asked, folder="elsewhere"), True),
    ],
    ids=["weights", "weights-beside", "data", "recipe", "architecture", "budget", "folder"],
)
def test_what_makes_it_another_conversion_is_seen(
    given: Path, tmp_path: Path, change: Callable[[ConversionJob], ConversionJob], same: bool
) -> None:
    folder = shutil.copytree(given, tmp_path / "given")
    proto = onnx.load(folder / "m.onnx")
    onnx.save(
        proto, str(folder / "m.onnx"), save_as_external_data=change is other_weights_beside,
        location="beside.bin", size_threshold=0,
    )  # fmt: skip
    asked = job(folder)

    before = kept.key_of(asked)
    assert before is not None
    assert (kept.key_of(change(asked)) == before) is same


@pytest.mark.parametrize(
    "with_code",
    [
        lambda asked: replace(asked, calibration=DataSource(location="own.py:some", kind=DataKind.FUNCTION)),
        lambda asked: replace(asked, contract=Contract(max_drop_points=1.0, metric="own.py:near")),
        lambda asked: replace(asked, trust=Trust(pickle=True)),
    ],
    ids=["data", "metric", "model"],
)
def test_code_of_the_users_own_is_run_each_time(
    given: Path, with_code: Callable[[ConversionJob], ConversionJob]
) -> None:
    assert kept.key_of(with_code(job(given))) is None


def test_what_ends_in_an_error_is_not_kept(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(given, tmp_path / "given")
    np.savez(folder / "c.npz", x=np.zeros((60, 7), np.float32))

    with pytest.raises(DataMismatch):
        run(folder)
    assert not (tmp_path / "cache/conversions").exists()


def test_the_one_that_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("a", "b", "c")):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "artifact").open("wb") as file:
            file.truncate(kept.LIMIT_BYTES // 2 - 1)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    kept.make_room(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
