"""`edge bench` on simulated boards: side by side, over SSH and over MQTT, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.boards import SimBoard
from tests.journeys.bundles import make_bundle
from tests.journeys.laptop import Laptop

pytestmark = [pytest.mark.bed, pytest.mark.timeout(600)]
SHORT = ("--seconds", "0.3", "--warm-up", "0.1", "--json")


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    work = tmp_path_factory.mktemp("bench")
    laptop = Laptop(work / "f")
    bundle = make_bundle(work / "1", profile="sim-onnx", model="digits.onnx", mark="1")
    laptop.does("publish", "digits", str(bundle))
    for number in (1, 2):
        laptop.does("flash", SimBoard.take(laptop, number).name, "digits@1")
    yield laptop
    laptop.does("collect", "stop")
    laptop.does("sim", "down", "--wipe")


def test_two_boards_are_measured_in_turn_each_by_its_own_agent(laptop: Laptop) -> None:
    ended = laptop.does("bench", "digits@1", "--on", "sim-1", "--on", "sim-2", "--rounds", "2", *SHORT)

    first, second = ended.json["series"]
    assert [first["title"], second["title"]] == ["digits@1 on sim-1", "digits@1 on sim-2"]
    for series in (first, second):
        assert series["rounds"] == 2
        assert series["errors"] == {}
        assert series["numbers"]["cpu_us_per_request"]["median"] > 0
    turns = [line.split(" on ")[1][:5] for line in ended.err.splitlines() if "round " in line]
    assert turns == ["sim-1", "sim-2", "sim-2", "sim-1"]


def test_a_board_is_loaded_over_mqtt_and_its_agent_counted_over_ssh(laptop: Laptop) -> None:
    (found,) = laptop.does(
        "bench", "--on", "sim-1", "--way", "mqtt", "--rate", "50", "--rounds", "1", *SHORT
    ).json["series"]

    assert found["requests"] == found["sent"] > 0
    assert found["errors"] == {}
    assert found["numbers"]["cpu_us_per_request"]["median"] > 0
    assert found["numbers"]["batch_size"]["median"] >= 1


def test_an_interruption_ends_the_load_on_the_board_and_keeps_its_numbers(laptop: Laptop) -> None:
    board = laptop.folder / "sims" / "sim-1"
    process = laptop.start("bench", "--on", "sim-1", "--seconds", "300", "--warm-up", "0.1", "--json")
    while not loads(board):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(5)  # for the window to begin
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    (series,) = json.loads(output)["series"]
    assert series["requests"] > 0
    assert not loads(board)


def loads(board: Path) -> bool:
    """Whether a load runs on the board."""
    listed = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return any(str(board) in line and " --attended" in line for line in listed.splitlines())
