"""Boards on which a start takes half a minute: nobody who waits for it ends it, or waits for more than it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig, RunningAgent
from agent.contract.codec import encode
from agent.update import probation
from agent.update.folder import UpdateFolder

pytestmark = pytest.mark.bed


class Told:
    """Who runs the agent, as far as it is told anything."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def reload(self) -> None:
        self.words.append("reload")

    def restart(self) -> None:
        self.words.append("restart")

    def stop(self) -> None:
        self.words.append("stop")


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("starts_in_s", "timeout_s", "words"),
    [pytest.param(16.0, 40.0, ["reload"], marks=pytest.mark.bed), (3.0, 4.0, ["reload", "restart"])],
)
def test_an_agent_that_is_starting_is_ended_only_when_half_of_its_time_is_over(
    tmp_path: Path, starts_in_s: float, timeout_s: float, words: list[str]
) -> None:
    folder = UpdateFolder(tmp_path)
    folder.run.mkdir()
    config = BoardConfig(
        fleet="f", device="d-0123456789", serial="s", profile="p", service=SERVICE_SUPERVISOR, port=0
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    running = RunningAgent(
        pid=os.getpid(), boot="b", generation=2, port=server.server_port, started=0.0, ready=True
    )
    threading.Timer(starts_in_s, folder.running.write_bytes, (encode(running),)).start()
    told = Told()
    try:
        seen = probation.serve(2, folder=folder, config=config, service=told, timeout_s=timeout_s)
    finally:
        server.shutdown()
        server.server_close()
    assert seen.reason == ""
    assert told.words == words


def test_an_agent_that_loads_its_models_has_all_of_its_time(tmp_path: Path) -> None:
    folder = UpdateFolder(tmp_path)
    folder.run.mkdir()
    config = BoardConfig(
        fleet="f", device="d-0123456789", serial="s", profile="p", service=SERVICE_SUPERVISOR, port=0
    )
    loading = RunningAgent(pid=os.getpid(), boot="b", generation=2, port=1, started=0.0, ready=False)
    folder.running.write_bytes(encode(loading))
    told = Told()
    seen = probation.serve(2, folder=folder, config=config, service=told, timeout_s=1.0)
    assert seen.reason == "the agent is not ready"
    assert "restart" not in told.words[1:], "it would begin once more"


def test_what_settles_before_the_agent_starts_does_not_import_tuf() -> None:
    asks = "import json, sys, agent.update.running; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "agent.update.machine" in loaded
    assert not loaded & {"tuf", "securesystemslib", "agent.update.verify"}
