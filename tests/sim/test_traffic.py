from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import cli
from edge.config import FleetFolder
from edge.sim.boards import SimBoard, boards, down, up
from edge.sim.plan import plans
from edge.sim.traffic import infer_request
from tests.agent.boards import TestBoard
from tests.agent.conftest import RunningAgent

RATE = 100.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetFolder]:
    fleet = FleetFolder.create(tmp_path / "f", "demo")
    up(fleet, 1, kinds=["onnx"], requests_per_s=RATE)
    yield fleet
    down(fleet)


@pytest.fixture
def installed(fleet: FleetFolder) -> TestBoard:
    """What a board has that was flashed: two models in generation 1."""
    (plan,) = plans(fleet)
    board = TestBoard(plan.home / ".edge")
    board.generation(1, {"digits": board.digits_onnx(), "two": board.sum_and_product()})
    board.link("current", 1)
    return board


@pytest.fixture
def start(fleet: FleetFolder, tmp_path: Path) -> Iterator[Callable[[TestBoard], RunningAgent]]:
    """Start agents on the simulated board; they end with the test."""
    (plan,) = plans(fleet)
    started: list[RunningAgent] = []

    def begin(board: TestBoard) -> RunningAgent:
        started.append(RunningAgent(board, tmp_path / f"agent-{len(started)}.log", plan.environment()))
        return started[-1].ready()

    yield begin
    for agent in started:
        agent.stop()


def until(fleet: FleetFolder, what: Callable[[SimBoard], bool], *, seconds: float = 20.0) -> SimBoard:
    end = time.monotonic() + seconds
    while not what(board := boards(fleet)[0]):
        assert time.monotonic() < end, f"it did not get there: {board}"
        time.sleep(0.02)
    return board


def more(fleet: FleetFolder, count: int = 20) -> SimBoard:
    """Wait until so many more requests were sent."""
    before = boards(fleet)[0].sent
    return until(fleet, lambda board: board.sent >= before + count)


def answered(agent: RunningAgent, model: str) -> int:
    """How many requests for a model the agent counted itself."""
    text: bytes = agent.get("/metrics")[1]
    name = f'nv_inference_request_success{{model="{model}"'
    return sum(int(float(line.split()[-1])) for line in text.decode().splitlines() if line.startswith(name))


def test_every_model_is_asked_at_the_boards_pace(
    fleet: FleetFolder, installed: TestBoard, start: Callable[[TestBoard], RunningAgent]
) -> None:
    agent = start(installed)
    until(fleet, lambda board: board.sent > 0)
    began, before = time.monotonic(), boards(fleet)[0].sent
    time.sleep(1.0)
    seconds, after = time.monotonic() - began, boards(fleet)[0]
    assert 0.5 * RATE * seconds < after.sent - before <= RATE * seconds + 5
    assert after.failed == 0
    digits, two = answered(agent, "digits"), answered(agent, "two")
    assert digits > 10
    assert abs(digits - two) <= 2


def test_clients_go_on_through_a_change_of_models(
    fleet: FleetFolder, installed: TestBoard, start: Callable[[TestBoard], RunningAgent]
) -> None:
    agent = start(installed)
    more(fleet)
    installed.generation(2, {"digits": installed.digits_int8()})
    installed.link("current", 2)
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_until(lambda said: said["generation"] == 2 and said["ready"])
    more(fleet, 50)
    before = answered(agent, "digits")
    assert more(fleet, 50).failed <= 1, "the one for the model that is gone, which was on its way"
    assert answered(agent, "digits") >= before + 45


def test_clients_wait_for_an_agent_that_is_gone_and_come_back_with_it(
    fleet: FleetFolder, installed: TestBoard, start: Callable[[TestBoard], RunningAgent]
) -> None:
    agent = start(installed)
    more(fleet)
    agent.process.kill()
    agent.process.wait()
    time.sleep(0.5)
    gone = boards(fleet)[0]
    assert gone.failed >= 1, "the agent's own file still says that it is there"
    start(installed)
    came = more(fleet)
    more(fleet)
    assert boards(fleet)[0].failed == came.failed


def test_nothing_is_counted_before_there_is_an_agent(fleet: FleetFolder) -> None:
    time.sleep(0.6)
    (board,) = boards(fleet)
    assert (board.requests_per_s, board.sent, board.failed) == (RATE, 0, 0)


def test_an_agent_that_is_not_of_the_board_is_not_asked(
    fleet: FleetFolder, installed: TestBoard, tmp_path: Path
) -> None:
    stranger = RunningAgent(installed, tmp_path / "agent.log").ready()
    try:
        time.sleep(0.6)
        assert boards(fleet)[0].sent == 0
    finally:
        stranger.stop()


def test_a_server_that_was_killed_goes_on_with_the_traffic_of_the_plan(
    fleet: FleetFolder, installed: TestBoard, start: Callable[[TestBoard], RunningAgent]
) -> None:
    start(installed)
    more(fleet)
    server = int(json.loads((fleet.sims / "server.json").read_text())["pid"])
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    up(fleet, 1)
    assert more(fleet).requests_per_s == RATE


def test_the_command_starts_shows_and_ends_traffic(
    fleet: FleetFolder,
    installed: TestBoard,
    start: Callable[[TestBoard], RunningAgent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(fleet.path)
    start(installed)

    def edge(*words: str) -> str:
        ran = CliRunner().invoke(cli, words, standalone_mode=False)
        assert ran.exception is None, ran.exception
        return ran.stdout

    edge("sim", "up", "1", "--no-traffic")
    still = boards(fleet)[0]
    time.sleep(0.3)
    assert boards(fleet)[0].sent == still.sent
    assert "none" in edge("sim", "list")
    edge("sim", "up", "1", "--traffic", "--rate", "50")
    more(fleet)
    shown = json.loads(edge("sim", "list", "--json"))[0]
    assert (shown["requests_per_s"], shown["failed"]) == (50.0, 0)
    assert shown["sent"] > still.sent
    assert "50/s, " in edge("sim", "list")
    edge("sim", "up", "1")
    assert boards(fleet)[0].requests_per_s == 50.0


def test_a_request_fits_every_input_of_a_model() -> None:
    inputs = [
        {"name": "image", "datatype": "FP32", "shape": [-1, 2, 3]},
        {"name": "count", "datatype": "INT32", "shape": [4]},
        {"name": "flag", "datatype": "BOOL", "shape": [-1]},
    ]
    head, _, body = infer_request("m", inputs, random.Random(0)).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    image, count, flag = json.loads(body)["inputs"]
    assert (image["shape"], len(image["data"])) == ([1, 2, 3], 6)
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in image["data"])
    assert (count["shape"], [type(value) for value in count["data"]]) == ([4], [int] * 4)
    assert (flag["shape"], flag["data"][0] in (True, False)) == ([1], True)
