"""One window of load, on a real agent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from agent.bench.engine import engine_alone
from agent.contract.codec import decode
from agent.contract.errors import Interrupted
from agent.contract.load import LoadReport
from tests.agent.boards import TestBoard
from tests.agent.conftest import RunningAgent


def bench(board: TestBoard, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", board.root / "bin" / "launch.py", "bench", *map(str, arguments)]
    return subprocess.run([*command, "--seconds", "0.6", "--warm-up", "0.1"], capture_output=True, text=True)


def report(ran: subprocess.CompletedProcess[str]) -> LoadReport:
    assert ran.returncode == 0, ran.stderr
    return decode(LoadReport, ran.stdout.encode())


def test_a_closed_loop_counts_what_the_agent_did_and_what_it_took(served: RunningAgent) -> None:
    found = report(bench(served.board, "--model", "digits", "--connections", 4))

    assert found.requests == found.latencies.count > 20
    assert found.errors == {}
    assert (found.model, found.version, found.rate_per_s) == ("digits", "3", None)
    assert found.server_cpu_s is not None
    assert found.generator_cpu_s > 0
    assert found.server_rss_bytes is not None
    assert found.server_peak_bytes is not None
    assert 20e6 < found.server_rss_bytes <= found.server_peak_bytes


def test_an_open_loop_sends_binary_tensors_at_its_rate_and_tells_the_batch_size(served: RunningAgent) -> None:
    found = report(
        bench(served.board, "--model", "digits", "--way", "binary", "--rate", 50, "--connections", 8)
    )

    assert found.sent == found.requests == found.late.count == 30
    assert found.errors == {}
    assert found.arrivals == "poisson"
    assert found.inferences == found.requests
    assert found.batch_size is not None
    assert found.batch_size >= 1


def test_the_engine_alone_runs_the_golden_set(served: RunningAgent) -> None:
    found = report(bench(served.board, "--model", "small", "--way", "engine"))

    assert found.way == "engine"
    assert found.engine.startswith("litert ")
    assert found.requests == found.latencies.count > 20
    assert found.server_rss_bytes is not None


def test_a_load_ends_with_its_standard_input_and_tells_what_it_has(served: RunningAgent) -> None:
    def runs() -> int:
        (found,) = served.get("/v2/models/digits/stats")[1]["model_stats"]
        return int(found["inference_count"])

    command = [sys.executable, "-I", served.board.root / "bin" / "launch.py", "bench", "--model", "digits"]
    before = runs()
    with subprocess.Popen(
        [*map(str, command), "--seconds", "120", "--warm-up", "0.1", "--attended"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        began = time.monotonic()
        while runs() < before + 500 or time.monotonic() < began + 1:
            assert process.poll() is None
            time.sleep(0.05)
        output, _ = process.communicate()  # which ends its input

    found = decode(LoadReport, output)
    assert found.cut
    assert found.seconds < 60
    assert found.requests == found.sent > 0


class _Looked(threading.Event):
    """Set after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def test_the_engine_alone_ends_when_nobody_waits(board: TestBoard) -> None:
    folder = board.root / "objects" / board.digits_onnx()
    found = engine_alone(folder, threads=1, seconds=60, warm_up_s=0, gone=_Looked(10))
    assert found.cut
    assert 0 < found.requests <= 10
    with pytest.raises(Interrupted):
        engine_alone(folder, threads=1, seconds=60, warm_up_s=60, gone=_Looked(2))


def test_a_picture_to_a_model_that_takes_none_is_an_error_by_its_status(served: RunningAgent) -> None:
    found = report(bench(served.board, "--model", "digits", "--way", "image"))

    assert found.requests == 0
    assert set(found.errors) == {"400"}


def test_nothing_to_load_is_said(served: RunningAgent, board: TestBoard) -> None:
    def code(ran: subprocess.CompletedProcess[str]) -> Any:
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        return json.loads(ran.stdout)["error"]["code"]

    assert code(bench(served.board, "--model", "nope", "--json")) == "request.unknown-model"
    assert (
        code(bench(served.board, "--model", "digits", "--version", 9, "--json")) == "request.unknown-version"
    )
    assert (
        code(bench(served.board, "--model", "nope", "--way", "engine", "--json")) == "request.unknown-model"
    )
    assert code(bench(board, "--model", "digits", "--json")) == "agent.silent"
