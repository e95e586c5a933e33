"""`edge bench` against a real server, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.stalling_server import StallingServer

EDGE = [sys.executable, "-m", "edge", "bench"]
SHORT = ["--seconds", "0.2", "--warm-up", "0.1"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with StallingServer().running() as server:
        yield f"http://127.0.0.1:{server.port}"


def edge(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*EDGE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.bed
def test_two_servers_are_measured_in_turn_and_compared(url: str, tmp_path: Path) -> None:
    done = edge(url, url, "--model", "m", *SHORT, "--rounds", 2, "--json", "--picture", tmp_path / "it.svg")

    told: dict[str, Any] = json.loads(done.stdout)
    assert [series["rounds"] for series in told["series"]] == [2, 2]
    spread = told["series"][0]["numbers"]["p95_ms"]
    assert 0 < spread["least"] <= spread["median"] <= spread["most"]
    (beside,) = told["ratios"]
    assert beside["ratios"]["p50_ms"]["verdict"] == "2 rounds are too few to tell"
    assert (tmp_path / "it.svg").read_text().startswith("<svg")
    assert done.stderr.count("round 1 of 2") == 2


@pytest.mark.bed
def test_a_missed_budget_is_exit_code_3_and_a_sweep_is_a_table(url: str) -> None:
    done = edge(url, "--model", "m", *SHORT, "--rounds", 1, "--rate", "500,1000", "--p95-ms", "0.001", code=3)

    header, *rows = done.stdout.splitlines()
    assert header.split()[:2] == ["rate/s", "what"]
    assert [row.split()[0] for row in rows[:2]] == ["500", "1000"]
    assert "no rate keeps p95 within 0.001 ms, not even 500/s" in done.stderr


def test_an_interruption_keeps_what_the_window_had_and_ends_the_load() -> None:
    with StallingServer().running() as server:
        url = f"http://127.0.0.1:{server.port}"
        command = [*EDGE, url, "--model", "m", "--seconds", "120", "--warm-up", "0.1", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        while server.windows == 0 or server.asked < 5:
            assert process.poll() is None
            time.sleep(0.02)
        asked = server.asked
        while server.asked < asked + 50:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, _ = process.communicate(timeout=60)
        asked = server.asked
        time.sleep(0.3)

        assert process.returncode == 130
        told = json.loads(output)
        assert told["interrupted"] is True
        assert told["series"][0]["rounds"] == 1
        assert 0 < told["series"][0]["requests"] <= asked
        assert server.asked == asked, "nothing goes on"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what"),
        (["digits@1", "--way", "json"], "say --way engine, or --on BOARD"),
        (["http://127.0.0.1:1"], "say which model"),
        (["http://127.0.0.1:1", "--model", "m", "--find-rate"], "--p95-ms"),
        (["http://127.0.0.1:1", "digits@1", "--model", "m"], "beside URLs alone"),
        (["http://127.0.0.1:1", "--model", "m", "--rate", "0"], "is not like 10,50,100"),
        (["http://127.0.0.1:1", "--model", "m", "--way", "mqtt"], "say --on BOARD"),
        (["digits@1", "--on", "pi", "--ca", __file__], "they are for URLs"),
    ],
)
def test_what_can_not_be_measured_is_said(arguments: list[str], said: str) -> None:
    from click.testing import CliRunner

    from edge.cli.main import cli

    ran = CliRunner().invoke(cli, ["bench", *arguments])

    words = f"{ran.output} {ran.exception}"
    assert ran.exit_code != 0
    assert said in words
