"""One window of load, on a real agent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from agent.contract.codec import decode
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
