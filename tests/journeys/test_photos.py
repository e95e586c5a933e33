"""Forty photos to a MobileNet on a board: the board says of them what a direct run here says.

The model, the photos and their labels lie outside of the project (`EDGE_TEST_MODELS`).
"""

from __future__ import annotations

import csv
import json
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.transforms.inputs import read_sample
from edge.bundle import open_bundle
from tests.beds.fixtures import MakeQemu
from tests.journeys.arrivals import arrive
from tests.journeys.boards import SimBoard
from tests.journeys.conftest import MakeLaptop
from tests.journeys.laptop import Laptop, forwarded
from tests.journeys.test_emulated_arm64 import SLOW

pytestmark = [pytest.mark.bed, pytest.mark.timeout(5000)]

MODEL = "mobilenet_v1_0.25_224_float32.tflite"
LEAST_SAME = 38
LEAST_RIGHT = 20
"""A quarter of a MobileNet is right in half of such photos."""

Send = Callable[[Path], int]
"""Sends one photo, by whatever way, and returns the number of the best class."""


def publish(laptop: Laptop, models: Path, work: Path, *, profile: str) -> Path:
    """The release `photos@1`; its bundle."""
    laptop.does(
        "convert", str(models / MODEL), "--for", profile, "--recipe", "as-is", "--name", "photos",
        "--input-scale=-1,1", "--labels", str(models / "imagenet_labels.txt"), "-o", str(work),
        seconds=600,
    )  # fmt: skip
    laptop.does("publish", "photos", str(work / profile), "--budget", "p95_ms=60000", "--force")
    return work / profile


def photos(models: Path) -> dict[Path, int]:
    """Each photo and the number of what it shows."""
    with (models / "photos" / "labels.csv").open() as file:
        return {models / "photos" / row["file"]: int(row["label_index_1001"]) for row in csv.DictReader(file)}


def directly(bundle: Path, files: Sequence[Path]) -> list[int]:
    """The best class of each photo, by the bundle's own steps and the engine of this environment."""
    from ai_edge_litert.interpreter import Interpreter

    opened = open_bundle(bundle)
    interpreter = Interpreter(model_path=str(bundle / opened.manifest.model_file))
    interpreter.allocate_tensors()
    best = []
    for file in files:
        sample = read_sample(file.read_bytes(), opened.manifest)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample.array)
        interpreter.invoke()
        best.append(int(np.argmax(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])))
    return best


def over_rest(port: int) -> Send:
    """The agent's image door."""

    def send(photo: Path) -> int:
        url = f"http://127.0.0.1:{port}/edge/v1/models/photos/infer"
        with urllib.request.urlopen(urllib.request.Request(url, photo.read_bytes()), timeout=120) as reply:
            document: dict[str, Any] = json.load(reply)
        return int(document["answers"][0]["index"])

    return send


def over_mqtt(laptop: Laptop, board: str, *, seconds: float) -> Send:
    """The fleet's broker."""

    def send(photo: Path) -> int:
        said = laptop.does("infer", board, str(photo), "--over", "mqtt", "--json", seconds=seconds)
        return int(said.json["answers"][0]["index"])

    return send


def the_board_agrees(way: str, send: Send, here: Sequence[int], truths: dict[Path, int]) -> None:
    there = [send(photo) for photo in truths]
    same = sum(found == expected for found, expected in zip(there, here, strict=True))
    right = sum(found == truth for found, truth in zip(there, truths.values(), strict=True))
    print(f"{way}: {same} of {len(there)} photos as here, {right} right")
    assert same >= LEAST_SAME
    assert right >= LEAST_RIGHT


def each_way(laptop: Laptop, board: str, bundle: Path, models: Path, *, seconds: float) -> None:
    truths = photos(models)
    here = directly(bundle, list(truths))
    with forwarded(laptop, board, seconds=seconds) as port:
        the_board_agrees("REST", over_rest(port), here, truths)
    arrive(laptop, 2, seconds=seconds)
    the_board_agrees("MQTT", over_mqtt(laptop, board, seconds=seconds), here, truths)
    first, expected = next(iter(truths)), here[0]
    said = laptop.does("infer", board, str(first), "--json", seconds=seconds).json
    assert said["answers"][0]["index"] == expected
    label = (models / "imagenet_labels.txt").read_text().splitlines()[expected]
    assert label in laptop.does("infer", board, str(first), seconds=seconds).out


def test_a_simulated_board_says_the_same_of_photos(
    new_laptop: MakeLaptop, real_models: Path, tmp_path: Path
) -> None:
    laptop = new_laptop()
    bundle = publish(laptop, real_models, tmp_path, profile="sim-tflite")
    board = SimBoard.take(laptop, 1, kind="tflite")
    try:
        laptop.does("flash", board.name, "photos@1", seconds=600)
        each_way(laptop, board.name, bundle, real_models, seconds=100)
    finally:
        laptop.does("sim", "down", "--wipe")


def test_an_emulated_arm64_board_says_the_same_of_photos(
    new_laptop: MakeLaptop, qemu_boards: MakeQemu, real_models: Path, tmp_path: Path
) -> None:
    laptop = new_laptop(bed=True, **SLOW)
    bundle = publish(laptop, real_models, tmp_path, profile="emulated-arm64")
    board = qemu_boards("photos")
    laptop.does("device", "add", f"pi@127.0.0.1:{board.board.port}", "--name", "emulated", "-y", seconds=300)
    flashed = laptop.does("flash", "emulated", "photos@1", seconds=2400)
    assert "aarch64" in flashed.err
    each_way(laptop, "emulated", bundle, real_models, seconds=300)
