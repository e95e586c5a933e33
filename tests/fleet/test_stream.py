"""A board's stream from the laptop, through real sshd, to a real agent: begun, looked at, ended."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import StreamAbsent
from agent.contract.manifest import Step
from agent.transforms.golden import GoldenSet
from edge.cli.main import run
from edge.config import FleetFolder
from edge.rollouts.stream import stop_stream
from edge.rollouts.workspace import Workspace
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, TestBoard, digits
from tests.agent.conftest import RunningAgent
from tests.beds.sshd import SshdBoard
from tests.fleet.known_board import workspace_with

pytestmark = pytest.mark.bed


NAME = "kitchen"


@pytest.fixture(scope="module")
def agent(bed: SshdBoard) -> Iterator[RunningAgent]:
    """An agent that serves from edge's folder on the bed."""
    board = TestBoard(bed.home / ".edge")
    bundle = board.bundle(
        model_file=MODELS / "digits.onnx",
        golden=GoldenSet(inputs=(digits(),)),
        inputs=[DIGITS],
        outputs=[PROBABILITIES],
        postprocessing=[Step("top-k", {"k": 1})],
    )
    board.generation(1, {"digits": bundle})
    board.link("current", 1)
    (board.root / "link").mkdir()
    bed.give(board.root / "link")
    photos = bed.home / "photos"
    photos.mkdir()
    np.save(photos / "a.npy", digits()[0])
    running = RunningAgent(board, bed.home / "agent.log")
    try:
        yield running.ready()
    finally:
        running.stop()
        subprocess.run(["rm", "-rf", str(board.root), str(photos), str(bed.home / "agent.log")], check=True)


@pytest.fixture(scope="module")
def workspace(fleet: FleetFolder, bed: SshdBoard, agent: RunningAgent) -> Workspace:
    return workspace_with(fleet, bed.board, name=NAME, device_id="d-0123456789")


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command says that the agent says; nothing yet, where it has not begun."""
    capsys.readouterr()
    assert run(["stream", "status", NAME, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["state"] or {}


def test_a_stream_is_begun_looked_at_and_ended(
    workspace: Workspace,
    agent: RunningAgent,
    bed: SshdBoard,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace.folder.path)
    with pytest.raises(StreamAbsent):
        stop_stream(workspace, NAME)
    asked = ["stream", "start", NAME, "--model", "digits", "--min-score", "0.5", "--on-change"]
    assert run(asked) == 2
    assert run([*asked, "--folder", "photos"]) == 2

    assert run([*asked, "--folder", str(bed.home / "photos"), "--rate", "20"]) == 0
    agent.wait_until(lambda _: status(capsys).get("asked") == 1)
    assert "nobody collects from this board" in status(capsys)["error"]

    assert run(["stream", "stop", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"device": NAME, "stream": None}
    assert run(["stream", "status", NAME]) == 1
