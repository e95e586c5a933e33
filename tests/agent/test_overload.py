"""More requests than a model can answer: the agent's process, and clients that come all at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard
from tests.agent.conftest import RunningAgent
from tests.agent.slow_models import INPUTS, OUTPUTS, write_slow

CLIENTS = 40
BOUND = 8


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent that serves `slow`, before which 8 requests may wait, and `digits`."""
    folder = tmp_path_factory.mktemp("overload")
    board = TestBoard(folder / "board", queue_requests=BOUND, log_level="debug", log_format="json")
    golden = GoldenSet(inputs=(np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32),))
    file = write_slow(folder / "slow.onnx", layers=100)
    slow = board.bundle(name="slow", model_file=file, golden=golden, inputs=INPUTS, outputs=OUTPUTS)
    board.generation(1, {"slow": slow, "digits": board.digits_onnx()})
    board.link("current", 1)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        yield agent.ready()
    finally:
        agent.stop()


def request(model: str, samples: int = 1) -> bytes:
    body = json.dumps({"instances": [[0.5] * 64] * samples}).encode()
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-7\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer(client: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, whose body is read, too."""
    with client.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while (line := file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        file.read(int(headers["content-length"]))
    return status, headers


def metric(agent: RunningAgent, start: str) -> list[float]:
    text = agent.get("/metrics")[1].decode()
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start)]


def test_who_comes_too_much_is_told_when_to_come_again_and_all_others_are_answered(
    loaded: RunningAgent,
) -> None:
    clients = [socket.create_connection(("127.0.0.1", loaded.port), timeout=60) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(request("slow", samples=40))
    quick: Any = loaded.post("/v1/models/digits:predict", {"instances": [[0.5] * 64]})
    answers = [answer(client) for client in clients]
    for client in clients:
        client.close()

    assert quick[0] == 200
    refused = [headers for status, headers in answers if status in (429, 503)]
    assert len(refused) + sum(status == 200 for status, _ in answers) == CLIENTS
    assert len(refused) >= CLIENTS // 2
    assert sum(status == 200 for status, _ in answers) > BOUND
    assert all(int(headers["retry-after"]) >= 1 for headers in refused)
    assert metric(loaded, 'nv_inference_request_failure{model="slow",version="1",reason="REJECTED"}') == [
        len(refused)
    ]
    assert metric(loaded, 'nv_inference_request_failure{model="digits",version="1",reason="REJECTED"}') == [0]


def test_a_request_that_failed_is_one_line_of_json_in_the_log(loaded: RunningAgent) -> None:
    with socket.create_connection(("127.0.0.1", loaded.port), timeout=60) as client:
        client.sendall(request("digits").replace(b"[0.5", b'["a"'))
        assert answer(client)[0] == 400

    lines = [json.loads(line) for line in loaded.log.read_text().splitlines() if line.startswith("{")]
    failed = [
        line for line in lines if line.get("model") == "digits" and line.get("code") == "request.invalid"
    ]
    assert [(line["level"], line["request"], line["version"]) for line in failed] == [("debug", "r-7", "1")]
    assert 0 < failed[0]["ms"] < 60_000


def test_durations_are_real_and_add_up_to_those_of_the_requests(loaded: RunningAgent) -> None:
    loaded.post("/v1/models/slow:predict", {"instances": [[0.5] * 64]})

    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    label = '{model="slow",version="1"}'
    took = [metric(loaded, f"nv_inference_{part}_duration_us{label}")[0] for part in parts]

    assert took[1] > 0
    assert took[2] > 0
    assert sum(took) == pytest.approx(metric(loaded, f"nv_inference_request_duration_us{label}")[0], rel=0.01)


def test_the_status_says_how_a_models_requests_are_run(loaded: RunningAgent) -> None:
    status = loaded.get("/edge/v1/status")[1]

    by_name = {model["name"]: model for model in status["models"]}
    assert (by_name["digits"]["inline"], by_name["slow"]["inline"]) == (True, False)
    assert by_name["slow"]["curve"]["largest"] >= 1
    assert set(status["strain"]) == {"hot", "slowed", "short"}
