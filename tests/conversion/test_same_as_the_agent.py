"""What evaluation here says of photos and sounds, an agent says of the same files.

The models and photos lie outside of the project (`EDGE_TEST_MODELS`).
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import ExitCode
from agent.transforms.golden import read_golden
from edge.bundle import open_bundle
from edge.conversion import ConversionRequest, convert
from edge.conversion.pipeline_file import read_pipeline
from tests.agent.boards import TestBoard
from tests.agent.conftest import RunningAgent
from tests.conversion.proving import PROFILES, measure_here
from tests.transforms.sounds import RATE, tone, wav

PHOTOS = """
task = "classification"

[[preprocessing]]
step = "rgb"

[[preprocessing]]
step = "crop"
height = 224
width = 224
part = 0.875

[[preprocessing]]
step = "resize"
height = 224
width = 224
method = "bilinear"

[[preprocessing]]
step = "normalize"
mean = [127.5, 127.5, 127.5]
deviation = [127.5, 127.5, 127.5]
"""
KEYWORDS = """
task = "classification"
preprocessing = [
    { step = "waveform", rate = 16000, length = 16000 },
    { step = "spectrogram", window = 480, hop = 320, fft = 512, power = 1 },
    { step = "mel", rate = 16000, bins = 40, low = 20, high = 4000 },
    { step = "log", offset = 1e-6 },
    { step = "dct", coefficients = 10, norm = "none" },
    { step = "scale", factor = 0.11180339887498948, offset = 0 },
    { step = "expand", axis = -1 },
]
"""
LEAST_RIGHT = 20
"""A quarter of a MobileNet is right in half of such photos."""


def converted(folder: Path, name: str, pipeline: str, **request: Any) -> Path:
    """The bundle of a model that is taken as it is."""
    file = folder / f"{name}.toml"
    file.write_text(pipeline)
    outcome = convert(
        ConversionRequest(
            profiles=(PROFILES["sim-tflite"],),
            output=folder / name,
            name=name,
            recipe="as-is",
            pipeline=read_pipeline(file),
            **request,
        ),
        measure_for=measure_here,
    )
    assert outcome.exit_code is ExitCode.DONE
    return folder / name / "sim-tflite"


def recorded(folder: Path) -> Path:
    """Twelve sounds, louder and softer, higher and lower."""
    folder.mkdir()
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, RATE)
    for k in range(12):
        sound = tone(150 * 1.3**k, seconds=0.3 + k / 12) * (k + 1) / 12
        sound = sound + noise[: len(sound)] if len(sound) <= RATE else sound
        (folder / f"{k:02}.wav").write_bytes(wav(sound))
    return folder


@pytest.fixture(scope="module")
def bundles(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("converted")
    return {
        "photos": converted(
            folder, "photos", PHOTOS,
            model=real_models / "mobilenet_v1_0.25_224_float32.tflite",
            evaluation=real_models / "photos",
            labels=real_models / "imagenet_labels.txt",
        ),
        "words": converted(
            folder, "words", KEYWORDS,
            model=real_models / "kws_dscnn_float32.tflite",
            evaluation=recorded(folder / "wavs"),
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def agent(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    folder = tmp_path_factory.mktemp("board")
    board = TestBoard(folder / "board")
    digests = {}
    for name, bundle in bundles.items():
        digests[name] = open_bundle(bundle).digest
        shutil.copytree(bundle, board.root / "objects" / digests[name])
    board.generation(1, digests)
    board.link("current", 1)
    running = RunningAgent(board, folder / "agent.log")
    try:
        yield running.ready()
    finally:
        running.stop()


def said_here(bundle: Path) -> np.ndarray:
    """The best class of each sample, in the order of the files' names."""
    return np.asarray(read_golden(bundle / "golden.npz").proof[0].argmax(axis=-1))


def said_there(agent: RunningAgent, name: str, files: list[Path]) -> list[int]:
    found = []
    for file in files:
        status, answer = agent.post(f"/edge/v1/models/{name}/infer", file.read_bytes())
        assert status == 200, answer
        found.append(answer["answers"][0]["index"])
    return found


def test_photos_are_judged_here_as_the_agent_answers(
    real_models: Path, bundles: dict[str, Path], agent: RunningAgent
) -> None:
    with (real_models / "photos" / "labels.csv").open() as file:
        truths = {row["file"]: int(row["label_index_1001"]) for row in csv.DictReader(file)}
    files = sorted((real_models / "photos").glob("*.jpg"))
    here = said_here(bundles["photos"])

    assert len(here) == len(files) == 40
    assert said_there(agent, "photos", files) == here.tolist()
    assert sum(truths[file.name] == found for file, found in zip(files, here, strict=True)) >= LEAST_RIGHT


def test_sounds_are_judged_here_as_the_agent_answers(
    real_models: Path, bundles: dict[str, Path], agent: RunningAgent
) -> None:
    files = sorted((bundles["words"].parents[1] / "wavs").glob("*.wav"))
    here = said_here(bundles["words"])

    assert said_there(agent, "words", files) == here.tolist()
    assert len(set(here.tolist())) > 1


def test_a_sound_that_the_model_can_t_hear_is_refused(agent: RunningAgent, real_models: Path) -> None:
    status, answer = agent.post("/edge/v1/models/words/infer", wav(tone(440), rate=8000))
    assert (status, "8000 samples a second" in str(answer)) == (400, True)
    photo = next((real_models / "photos").glob("*.jpg")).read_bytes()
    assert agent.post("/edge/v1/models/words/infer", photo)[0] == 400
    assert agent.post("/edge/v1/models/photos/infer", wav(tone(440)))[0] == 400
