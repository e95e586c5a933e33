"""A board's door from the laptop, through real sshd, to a real agent: opened, given another token, shut."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.door import Scope
from agent.contract.errors import OptionInvalid, TokenUnknown
from edge.cli.main import run
from edge.config import FleetFolder
from edge.rollouts.door import Opened, close_door, open_door
from edge.rollouts.workspace import Workspace
from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import RunningAgent
from tests.beds.sshd import SshdBoard
from tests.fleet.known_board import workspace_with

NAME = "kitchen"
DEVICE = "d-0123456789"


@pytest.fixture(scope="module")
def agent(bed: SshdBoard) -> Iterator[RunningAgent]:
    """An agent that serves from edge's folder on the bed."""
    board = TestBoard(bed.home / ".edge")
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    (board.root / "link").mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (board.root / "mqtt.key").write_bytes(private)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (board.root / "mqtt.pub").write_bytes(public)
    bed.give(board.root / "link")
    running = RunningAgent(board, bed.home / "agent.log")
    try:
        yield running.ready()
    finally:
        running.stop()
        subprocess.run(["rm", "-rf", str(board.root), str(bed.home / "agent.log")], check=True)


@pytest.fixture(scope="module")
def workspace(fleet: FleetFolder, bed: SshdBoard, agent: RunningAgent) -> Workspace:
    return workspace_with(fleet, bed.board, name=NAME, device_id=DEVICE)


def ask(opened: Opened, token: str) -> int:
    """The status that a client gets who trusts the fleet's authority."""
    request = urllib.request.Request(
        f"{opened.url}/v1/models/digits:predict",
        json.dumps({"instances": digits(1).tolist()}).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    trusted = ssl.create_default_context(cafile=str(opened.authority))
    try:
        with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def follow(agent: RunningAgent, tokens: list[str] | None) -> None:
    agent.wait_until(lambda said: (said["door"]["tokens"] if said.get("door") else None) == tokens)


def test_a_door_is_opened_given_another_token_and_shut(workspace: Workspace, agent: RunningAgent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    first = open_door(workspace, NAME, address="127.0.0.1", port=port, token_name="camera")
    follow(agent, ["camera"])
    assert first.url == f"https://127.0.0.1:{port}"
    assert ask(first, first.token) == 200
    assert ask(first, "x" * 43) == 401
    stored = (agent.board.root / "link" / "door.json").read_text()
    assert first.token not in stored

    second = open_door(workspace, NAME, token_name="admin", scope=Scope.CONTROL)
    follow(agent, ["camera", "admin"])
    assert second.config.certificate == first.config.certificate
    assert (second.url, ask(second, second.token), ask(second, first.token)) == (first.url, 200, 200)

    renewed = open_door(workspace, NAME, token_name="camera", reached_as=("kitchen.local",))
    follow(agent, ["admin", "camera"])
    assert renewed.config.certificate != first.config.certificate
    end = time.monotonic() + 10
    while ask(renewed, first.token) != 401 and time.monotonic() < end:
        time.sleep(0.1)
    assert (ask(renewed, renewed.token), ask(renewed, first.token)) == (200, 401)

    with pytest.raises(TokenUnknown, match="`admin`, `camera`"):
        close_door(workspace, NAME, token_name="nobody")
    left = close_door(workspace, NAME, token_name="camera")
    assert left is not None
    follow(agent, ["admin"])
    assert ask(renewed, renewed.token) == 401
    assert close_door(workspace, NAME) is None
    follow(agent, None)
    with pytest.raises(OSError, match="refused"):
        ask(renewed, second.token)


def test_the_command_prints_the_token_alone_and_how_to_call_it(
    workspace: Workspace,
    agent: RunningAgent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace.folder.path)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = str(found.getsockname()[1])

    assert run(["device", "open", NAME, "--address", "127.0.0.1", "--port", port]) == 0

    said = capsys.readouterr()
    token = said.out.strip()
    assert len(token) == 43
    line = next(line for line in said.err.splitlines() if "curl" in line)
    follow(agent, ["default"])
    command = shlex.split(line[line.index("curl") :])
    called = subprocess.run([*command, "--silent"], capture_output=True, text=True)
    assert json.loads(called.stdout)[0]["name"] == "digits"
    assert run(["device", "close", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"device": NAME, "open": False, "tokens": []}
    assert run(["device", "open", NAME, "--address", "board.local"]) == 2


@pytest.mark.parametrize("name", ["edge-broker", "a b", "", "-x", "\u00e4"])
def test_a_name_that_no_board_may_have_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(OptionInvalid, match="no name or address of a board"):
        open_door(workspace, NAME, token_name="t", reached_as=(name,))
