"""Where nothing can be written, neither what the agent says of itself nor its logs, it serves all the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path

from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import RunningAgent

START_S = 60.0


def test_an_agent_on_a_full_disk_serves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    board = TestBoard(tmp_path / "board", port=port)
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    run = board.root / "run"
    run.rmdir()
    run.write_bytes(
        b""
    )  # whatever is written below it fails, as it would on a full disk; root may write anywhere else
    agent = RunningAgent(board, Path("/dev/full"))
    try:
        body = json.dumps({"instances": digits(2).tolist()})
        end = time.monotonic() + START_S
        answers: list[int] = []
        while len(answers) < 20 and time.monotonic() < end:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("POST", "/v1/models/digits:predict", body)
                answers.append(connection.getresponse().status)
                connection.close()
        assert answers == [200] * 20
    finally:
        assert agent.stop() in (0, 120)  # 120 is Python's own, where standard error can't be flushed
