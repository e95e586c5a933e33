from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import ExitCode
from edge.collector import client
from tests.cli.terminal import at_terminal
from tests.dashboard.fleet import Fleet

EDGE = str(Path(sys.executable).with_name("edge"))
BACK = "\x1b[?1049l"
"""Leaves the second screen: what stood in the terminal before is there again."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two boards; one reported a minute ago. The collector that the first command starts ends with the last test."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet") / "f", ["sim-1", "sim-2"])
    with fleet.writer() as store:
        fleet.report(store, "sim-1", ago_s=60)
    yield fleet
    client.stop(fleet.folder)


def edge(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EDGE, *words], cwd=fleet.folder.path, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_terminal_each_board_has_a_line_for_each_look(fleet: Fleet) -> None:
    ran = edge(fleet, "watch", "--for", "1.5s", "--interval", "500ms")
    assert ran.returncode == ExitCode.DONE, ran.stderr
    head, *lines = ran.stdout.splitlines()
    assert head.split()[:4] == ["time", "board", "state", "release"]
    assert 2 * 3 <= len(lines) <= 2 * 4
    assert any("sim-1" in line and "digits@1" in line for line in lines)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert client.running(fleet.folder) is not None, "it started the collector"


def test_json_is_one_object_a_line(fleet: Fleet) -> None:
    ran = edge(fleet, "watch", "--for", "500ms", "--json")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {one["board"] for one in found} == {"sim-1", "sim-2"}
    assert all(one["level"] in ("bad", "doubt", "note", "good") for one in found)


def test_a_fleet_of_which_nothing_was_heard_is_incomplete(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "f", [])
    try:
        ran = edge(fleet, "watch", "--for", "300ms")
        assert (ran.returncode, ran.stdout) == (ExitCode.INCOMPLETE, "")
        assert "no board is in this fleet yet" in ran.stderr or "there is no telemetry yet" in ran.stderr
        assert "Traceback" not in ran.stderr
    finally:
        client.stop(fleet.folder)


@pytest.mark.parametrize("words", [("--for", "soon"), ("--for", "1ms"), ("--interval", "0")])
def test_a_time_that_is_none_is_refused(fleet: Fleet, words: tuple[str, str]) -> None:
    ran = edge(fleet, "watch", *words)
    assert ran.returncode == ExitCode.USAGE
    assert f"`{words[1]}`" in ran.stderr


def test_at_a_terminal_it_is_a_screen_that_ends_and_gives_the_terminal_back(fleet: Fleet) -> None:
    code, said = at_terminal([EDGE, "watch", "--for", "2s"], cwd=fleet.folder.path)
    assert code == ExitCode.DONE, said
    assert "sim-1" in said
    assert BACK in said


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_a_key_ends_the_screen(fleet: Fleet, key: str) -> None:
    code, said = at_terminal([EDGE, "watch"], cwd=fleet.folder.path, typed=[("sim-2", key)])
    assert code == ExitCode.DONE, said
    assert BACK in said


def test_no_colour_where_none_is_wanted(fleet: Fleet) -> None:
    code, said = at_terminal([EDGE, "watch", "--for", "1s"], cwd=fleet.folder.path, NO_COLOR="1")
    assert code == ExitCode.DONE
    colours = {part.partition("m")[0] for part in said.split("\x1b[")[1:] if part[:3] in ("38;", "48;")}
    assert all(is_grey(colour) for colour in colours), colours


def is_grey(colour: str) -> bool:
    """`38;2;90;90;90` and the like."""
    numbers = [int(number) for number in colour.split(";")]
    for at in range(0, len(numbers) - 4):
        if numbers[at] in (38, 48) and numbers[at + 1] == 2:
            red, green, blue = numbers[at + 2 : at + 5]
            if not red == green == blue:
                return False
    return True


def test_an_error_ends_the_screen_first_and_is_told_then(fleet: Fleet) -> None:
    damaged = fleet.folder.devices / "sim-9.json"
    damaged.write_text("{")
    try:
        code, said = at_terminal([EDGE, "watch"], cwd=fleet.folder.path)
    finally:
        damaged.unlink()
    assert code == ExitCode.FAILED
    assert "sim-9.json" in said.rpartition(BACK)[2]
    assert "Traceback" not in said


def test_being_ended_gives_the_terminal_back(fleet: Fleet) -> None:
    script = (
        "import os, signal, sys, threading, time\n"
        "def end():\n"
        "    while 'edge.dashboard.app' not in sys.modules: time.sleep(0.1)\n"
        "    time.sleep(2)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=end, daemon=True).start()\n"
        "from edge.cli.main import main\nmain(['watch'])\n"
    )
    code, said = at_terminal([sys.executable, "-c", script], cwd=fleet.folder.path)
    assert code == ExitCode.INTERRUPTED
    assert "interrupted" in said.rpartition(BACK)[2]
    assert "Traceback" not in said


def test_lines_end_well_with_ctrl_c(fleet: Fleet) -> None:
    process = subprocess.Popen(
        [EDGE, "watch"], cwd=fleet.folder.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.DONE, err
    assert "Traceback" not in err


def test_a_terminal_that_can_not_draw_gets_lines(fleet: Fleet) -> None:
    code, said = at_terminal([EDGE, "watch", "--for", "500ms"], cwd=fleet.folder.path, TERM="dumb")
    assert code == ExitCode.DONE, said
    assert "sim-1" in said
    assert BACK not in said
