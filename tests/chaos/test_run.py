"""Small runs: everything is real, little is made."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.edge_chaos import chaos, left_behind, start

SMALL = ("--boards", "2", "--samples", "2000", "--kills", "2", "--cuts", "2")


@pytest.mark.parametrize("broker", ["mosquitto", pytest.param("embedded", marks=pytest.mark.bed)])
def test_of_a_small_fleet_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path, broker: str) -> None:
    code, told = chaos("--seed", "3", "--broker", broker, *SMALL, temporary=tmp_path)
    counted = told["counted"]
    assert (code, told["broker"]) == (0, broker)
    assert counted["given"] >= 2000
    assert counted["events"] > 0
    assert counted["given"] == counted["samples"] + counted["events"] + counted["stated"]
    assert (counted["lost"], counted["duplicated"], counted["invented"], counted["waiting"]) == (0, 0, 0, 0)
    assert counted["streams"] >= 2 * 2, "each board was killed at least once in mid-life"
    assert told["collected"] == {"refused": 0, "breaks": 0}


def test_ctrl_c_ends_everything_that_was_started(tmp_path: Path) -> None:
    process = start("--seed", "3", temporary=tmp_path)
    assert process.stderr is not None
    while "have been started" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in talk
    assert left_behind(tmp_path) == []


def test_an_agent_that_ends_by_itself_is_an_error_and_no_result(tmp_path: Path) -> None:
    process = start("--seed", "3", "--boards", "1", "--json", temporary=tmp_path)
    assert process.stderr is not None
    while "have been started" not in process.stderr.readline():
        assert process.poll() is None
    running = next(tmp_path.glob("edge-chaos-*/board-1")) / "run" / "agent.json"
    while not running.exists():
        time.sleep(0.05)
    os.kill(json.loads(running.read_bytes())["pid"], signal.SIGKILL)
    out, talk = process.communicate(timeout=60)
    assert process.returncode == 1, talk
    assert json.loads(out)["error"]["code"] == "chaos.failed"
    assert "board-1" in talk
    assert left_behind(tmp_path) == []


def test_a_folder_with_something_in_it_is_not_worked_in(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    process = start("--keep", str(tmp_path), temporary=tmp_path)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "not an empty folder" in talk


@pytest.mark.bed
@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_of_60000_samples_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, seed: str, broker: str
) -> None:
    code, told = chaos("--seed", seed, "--broker", broker, temporary=tmp_path)
    assert code == 0
    assert told["counted"]["given"] >= 60_000
    assert told["counted"]["stated"] > 0
    assert told["counted"]["wrong"] == []
