"""Somebody between laptop and board: at first contact he is shown and asked about; afterwards he is told nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import HostKeyChanged, HostKeyUnknown
from edge.config import FleetFolder
from edge.fleet.address import Address
from edge.fleet.connection import connect
from edge.inventory import Device, Inventory, new_device_id
from tests.attacks.in_between import InBetween, in_between, leads_to
from tests.cli.conftest import Edge, edge

__all__ = ["edge"]
ED25519, ECDSA = "ssh-ed25519", "ecdsa-sha2-nistp256"
PASSWORD = "the sudo password"


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetFolder:
    """A fleet folder, and a home folder of its user with an SSH agent that is to be forwarded."""
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "home/.ssh/config").write_text("Host *\n  ForwardAgent yes\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return FleetFolder.create(tmp_path / "f", "kitchen")


@pytest.fixture(scope="module")
def someone() -> Iterator[InBetween]:
    """With a host key of the usual kind; what it saw is of all tests together, and nobody told it anything."""
    with in_between() as server:
        yield server


def known_hosts(laptop: FleetFolder, port: int, key: str, *, hashed: bool = False) -> Path:
    path = laptop.path.parent / "home/.ssh/known_hosts"
    path.write_text(f"[127.0.0.1]:{port} {key}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
        assert str(port) not in path.read_text()
    return path


def devices(laptop: FleetFolder) -> list[str]:
    return [device.name for device in Inventory(laptop).list()]


def pinned(laptop: FleetFolder, port: int, key: str) -> Device:
    device = Device(
        name="kitchen", device_id=new_device_id(), host="127.0.0.1", port=port, user="pi", host_key=key,
        fingerprint="SHA256:pinned", public_key="0" * 64, root="/opt/edge", service="systemd", serial="s",
    )  # fmt: skip
    Inventory(laptop).add(device)
    return device


def test_a_key_is_shown_and_nobody_is_trusted_unasked(
    edge: Edge, laptop: FleetFolder, someone: InBetween
) -> None:
    ended = edge("device", "add", f"pi@127.0.0.1:{someone.port}", folder=laptop.path)
    assert (ended.code, devices(laptop)) == (2, [])
    assert someone.key.fingerprint in ended.err
    assert someone.connections
    assert someone.was_told_nothing


def test_yes_trusts_the_key_that_is_shown_says_which_and_forwards_no_agent(
    edge: Edge, laptop: FleetFolder
) -> None:
    with in_between() as server:
        ended = edge(
            "device", "add", f"pi@127.0.0.1:{server.port}", "--name", "kitchen", "--yes", "--json",
            folder=laptop.path,
        )  # fmt: skip
        assert ended.code == 0
        assert server.key.fingerprint in ended.err
        assert ended.json["host_key"] == server.key.text
        with connect(Inventory(laptop).get("kitchen"), fleet=laptop) as board:
            board.run(["true"])
        assert server.commands
        assert server.agents == server.passwords == []


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_a_key_that_the_users_known_hosts_contradicts_is_said_and_refused_to_scripts(
    edge: Edge, laptop: FleetFolder, someone: InBetween, hashed: bool
) -> None:
    with in_between() as board:
        known_hosts(laptop, someone.port, board.key.text, hashed=hashed)
        asked = edge("device", "add", f"pi@127.0.0.1:{someone.port}", folder=laptop.path)
        assert asked.code == 2, "a person is asked, with what is known in sight"
        assert board.key.fingerprint in asked.err
        assert "someone in between" in asked.err
        ended = edge("device", "add", f"pi@127.0.0.1:{someone.port}", "--yes", "--json", folder=laptop.path)
        assert (ended.code, ended.json["error"]["code"]) == (3, "ssh.host-key-differs")
        assert ended.json["error"]["facts"]["known"] == board.key.fingerprint
    assert devices(laptop) == []
    assert someone.was_told_nothing


def test_a_key_that_the_users_known_hosts_knows_is_said(
    edge: Edge, laptop: FleetFolder, someone: InBetween
) -> None:
    known_hosts(laptop, someone.port, someone.key.text)
    ended = edge("device", "add", f"pi@127.0.0.1:{someone.port}", folder=laptop.path)
    assert "known_hosts knows it by the same key" in ended.err


def test_another_kind_of_key_than_the_known_one_is_no_way_around_known_hosts(
    edge: Edge, laptop: FleetFolder
) -> None:
    with in_between(ECDSA) as server, in_between() as board:
        known_hosts(laptop, server.port, board.key.text)
        ended = edge("device", "add", f"pi@127.0.0.1:{server.port}", "--yes", "--json", folder=laptop.path)
        assert (ended.code, ended.json["error"]["code"]) == (3, "ssh.host-key-differs")
        assert server.was_told_nothing


def test_a_board_that_is_known_by_one_of_its_keys_is_asked_for_that_one(
    edge: Edge, laptop: FleetFolder
) -> None:
    with in_between(ED25519, ECDSA) as board:
        known_hosts(laptop, board.port, board.keys[ECDSA].text)
        ended = edge("device", "add", f"pi@127.0.0.1:{board.port}", "--yes", "--json", folder=laptop.path)
        assert (ended.code, ended.json["host_key"]) == (0, board.keys[ECDSA].text)


def test_who_comes_in_between_the_question_and_the_connection_is_refused(
    edge: Edge, laptop: FleetFolder, someone: InBetween, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_LOGIN_PASSWORD", PASSWORD)
    with in_between() as board, leads_to([board.port, someone.port]) as port:
        ended = edge(
            "device", "add", f"pi@127.0.0.1:{port}", "--yes", "--ask-password", "--json", folder=laptop.path
        )
        assert (ended.code, ended.json["error"]["code"]) == (3, "ssh.host-key-changed")
        assert ended.json["error"]["facts"]["shown"] == someone.key.fingerprint
    assert devices(laptop) == []
    assert someone.was_told_nothing


COMMANDS = (
    ("device", "show", "kitchen"), ("device", "probe", "kitchen"), ("forward", "kitchen"),
    ("device", "remove", "kitchen", "--wipe", "--yes", "--ask-sudo-password"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_once_pinned_another_key_is_told_no_name_no_password_and_no_command(
    edge: Edge,
    laptop: FleetFolder,
    someone: InBetween,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.setenv("EDGE_SUDO_PASSWORD", PASSWORD)
    with in_between() as board:
        pinned(laptop, someone.port, board.key.text)
    ended = edge(*arguments, folder=laptop.path)
    assert (ended.code, "[ssh.host-key-changed]" in ended.err) == (3, True), ended.err
    assert someone.was_told_nothing
    assert devices(laptop) == ["kitchen"]


@pytest.mark.parametrize("kinds", [(ECDSA,), ("ssh-rsa",)], ids=["ecdsa", "rsa"])
def test_who_offers_only_another_kind_of_key_than_the_pinned_one_is_refused(
    laptop: FleetFolder, kinds: tuple[str, ...]
) -> None:
    with in_between(*kinds) as server, in_between() as board:
        device = pinned(laptop, server.port, board.key.text)
        with pytest.raises(HostKeyChanged):
            connect(device, fleet=laptop, password="the login password", sudo_password=PASSWORD)
        assert server.connections
        assert server.was_told_nothing


def test_without_a_pinned_key_no_password_leaves_the_laptop(laptop: FleetFolder, someone: InBetween) -> None:
    known_hosts(laptop, someone.port, someone.key.text)
    with pytest.raises(HostKeyUnknown):
        connect(
            Address(host="127.0.0.1", port=someone.port, user="pi"), fleet=laptop, password="the login password",
            sudo_password=PASSWORD,
        )  # fmt: skip
    assert someone.was_told_nothing
