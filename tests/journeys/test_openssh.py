"""Boards with a real OpenSSH server: how a user gets in, and an installation without root."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.beds.board import PASSWORD, ssh_argv
from tests.beds.fixtures import or_skip
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.journeys.bundles import digits
from tests.journeys.conftest import MakeLaptop, publish_three
from tests.journeys.laptop import Client, forwarded, wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def board(beds_swept: None) -> Iterator[SshdBoard]:
    with or_skip(lambda: SshdBoard("journey", SshdOptions())) as board:
        yield board


def address(board: SshdBoard, user: str | None = None) -> str:
    return f"{user or board.board.user}@127.0.0.1:{board.board.port}"


def on(board: SshdBoard, command: str) -> str:
    done = subprocess.run(ssh_argv(board.board, command), capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def test_ways_in_that_are_refused(new_laptop: MakeLaptop, board: SshdBoard) -> None:
    laptop = new_laptop(bed=True)
    unknown = laptop.does("device", "add", address(board), "--name", "kitchen", code=2)
    assert "say --yes to trust the key" in unknown.err
    assert board.board.host_key_fingerprint in unknown.err
    wrong_user = laptop.does("device", "add", address(board, "nobody-here"), "-y", code=1)
    assert "[ssh.authentication-failed]" in wrong_user.err
    assert "nobody-here" in wrong_user.err
    nowhere = laptop.does("device", "add", "pi@no-such-board.invalid", "-y", code=4)
    assert "[ssh.no-such-host]" in nowhere.err
    assert laptop.does("device", "list", "--json").json == []

    laptop.does("device", "add", address(board), "--name", "kitchen", "-y")
    another = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(laptop.folder.parent / "other"))
    subprocess.run(another, check=True)
    key = " ".join((laptop.folder.parent / "other.pub").read_text().split()[:2])
    path = laptop.folder / "devices" / "kitchen.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host_key": key}))
    for command in (("probe",), ("show",)):
        changed = laptop.edge("device", *command, "kitchen")
        assert "Traceback" not in changed.err
    changed = laptop.does("device", "probe", "kitchen", code=3)
    assert "[ssh.host-key-changed]" in changed.err
    assert board.board.host_key_fingerprint in changed.err
    laptop.does("device", "add", address(board), "--name", "kitchen", "--replace-key", "-y")
    laptop.does("device", "probe", "kitchen")


@pytest.mark.bed
def test_a_password_once_and_then_the_fleets_own_key(
    new_laptop: MakeLaptop, board: SshdBoard, tmp_path: Path
) -> None:
    if not board.isolated:
        pytest.skip("without root the bed's sshd can't check passwords")
    laptop = new_laptop()
    refused = laptop.does("device", "add", address(board), "--name", "kitchen", "-y", code=1)
    assert "[ssh.authentication-failed]" in refused.err
    assert "--ask-password" in refused.err
    add = ("device", "add", address(board), "--name", "kitchen", "-y", "--ask-password")
    silent = laptop.does(*add, code=2)
    assert "EDGE_LOGIN_PASSWORD" in silent.err
    wrong = laptop.does(*add, code=1, EDGE_LOGIN_PASSWORD="not-the-password")
    assert "[ssh.authentication-failed]" in wrong.err
    assert "not-the-password" not in wrong.err
    added = laptop.does(*add, EDGE_LOGIN_PASSWORD=PASSWORD)
    assert "the fleet's SSH key is installed on the board" in added.err
    key = (laptop.folder / "keys" / "ssh.pub").read_text().split()[1]
    assert key in on(board, "cat ~/.ssh/authorized_keys")

    publish_three(laptop, tmp_path, profile="linux-x86-64", model="digits.onnx")
    flashed = laptop.does("flash", "kitchen", "digits@1")
    assert "kept running by edge's own supervisor" in flashed.err
    assert on(board, "ls -d ~/.edge/current") != ""
    assert "nothing to do" in laptop.does("flash", "kitchen", "digits@1").err
    samples, truths = digits()
    np.save(tmp_path / "one.npy", samples[1])
    found = laptop.does("infer", "kitchen", str(tmp_path / "one.npy"), "--json").json
    assert found["answers"][0]["label"] == str(truths[1])
    with forwarded(laptop, "kitchen") as port, Client(port, samples[1].tolist()) as client:
        assert "[trial.golden-disagrees]" in laptop.does("flash", "kitchen", "digits@2", code=3).err
        laptop.does("flash", "kitchen", "digits@3")
        wait_until(lambda: client.versions[-1] == "3", "version 3 answers")
        laptop.does("flash", "kitchen", "--previous")
        wait_until(lambda: client.versions[-1] == "1", "version 1 answers again")
    assert client.failed == []

    board.power_cut()
    board.boot()
    assert on(board, "pgrep -fc launch.py") == "0", "nothing starts it where there is no systemd"
    again = laptop.does("flash", "kitchen", "digits@1")
    assert "edge's own supervisor did not run; it was started" in again.err
    wait_until(
        lambda: laptop.edge("infer", "kitchen", str(tmp_path / "one.npy")).code == 0, "it serves again"
    )
    laptop.does("device", "remove", "kitchen", "--wipe", "-y")
    assert on(board, "ls -d ~/.edge; pgrep -f launch.py") == ""
