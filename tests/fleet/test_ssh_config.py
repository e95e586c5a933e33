from __future__ import annotations

from pathlib import Path

import pytest

from edge.fleet.ssh_config import read_ssh_config


def test_included_files_stand_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ssh = tmp_path / ".ssh"
    (ssh / "d").mkdir(parents=True)
    (ssh / "config").write_text(
        "Include d/*.conf none/*\n"
        "User everyone\n"
        "Host lab-*\n  Port 2200\n  include ~/.ssh/inside\n  ConnectTimeout 5\n"
        "Host other\n  Port 9\n"
    )
    (ssh / "d" / "a.conf").write_text("Host kitchen\n  HostName 10.0.0.7\n  User pi\n  Include config\n")
    (ssh / "inside").write_text("ProxyJump gate\nHost lab-9\n  User nine\n")
    config = read_ssh_config()
    kitchen = config.lookup("kitchen")
    assert (kitchen["hostname"], kitchen["user"], kitchen.get("port")) == ("10.0.0.7", "pi", None)
    lab = config.lookup("lab-1")
    assert (lab["port"], lab["proxyjump"], lab["connecttimeout"], lab["user"]) == (
        "2200",
        "gate",
        "5",
        "everyone",
    )
    assert config.lookup("other")["port"] == "9"


def test_without_a_configuration_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_ssh_config().lookup("kitchen")["hostname"] == "kitchen"
