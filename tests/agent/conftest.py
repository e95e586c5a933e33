"""Boards in folders, and real agents that serve them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.boards import TestBoard

START_S = 60.0


class RunningAgent:
    """An agent's process, started by the launcher as on a board."""

    def __init__(self, board: TestBoard, log: Path, environment: dict[str, str] | None = None) -> None:
        self.board = board
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-I", board.root / "bin" / "launch.py", "run"],
                stderr=output,
                env={**os.environ, **(environment or {})},
            )

    def wait_until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the agent says so of itself."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if (self.board.root / "run" / "agent.json").exists() and what(found := self.board.running()):
                return found
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the agent ended with {self.process.returncode}: {self.log.read_text()}"
                )
            time.sleep(0.01)
        raise AssertionError(f"the agent did not get there: {self.board.running()}\n{self.log.read_text()}")

    def ready(self) -> RunningAgent:
        self.wait_until(lambda said: said["ready"] and said["pid"] == self.process.pid)
        return self

    @property
    def port(self) -> int:
        return int(self.board.running()["port"])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any, http.client.HTTPMessage]:
        """One request on a connection of its own: status, body (parsed where it is JSON), headers."""
        connection = self.connect()
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, data)
        answer = connection.getresponse()
        content: Any = answer.read()
        connection.close()
        if answer.headers.get_content_type() == "application/json" and content:
            content = json.loads(content)
        return answer.status, content, answer.headers

    def get(self, path: str) -> tuple[int, Any]:
        return self.request("GET", path)[:2]

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self.request("POST", path, body)[:2]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@pytest.fixture
def board(tmp_path: Path) -> TestBoard:
    return TestBoard(tmp_path / "board")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    """Start agents that end with the test."""
    started: list[RunningAgent] = []

    def begin(board: TestBoard, **environment: str) -> RunningAgent:
        agent = RunningAgent(board, tmp_path / f"agent-{len(started)}.log", environment)
        started.append(agent)
        return agent

    yield begin
    for agent in started:
        agent.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent that serves `digits` (ONNX, float), `small` (TFLite, int8) and `two` (two inputs, two outputs)."""
    folder = tmp_path_factory.mktemp("served")
    board = TestBoard(folder / "board")
    board.generation(
        3, {"digits": board.digits_onnx(), "small": board.digits_int8(), "two": board.sum_and_product()}
    )
    board.link("current", 3)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        yield agent.ready()
    finally:
        agent.stop()
