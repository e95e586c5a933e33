"""The key of a board's MQTT certificate."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

import pytest

from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD, BoardConfig
from agent.contract.errors import StateDamaged
from agent.update.folder import UpdateFolder
from agent.update.mqtt_key import ensure_mqtt_key


def config(service: str) -> BoardConfig:
    return BoardConfig("kitchen-abcdef", "d-1", "none", "generic-linux-x86-64", service)


def test_a_key_is_made_once_and_its_public_half_is_told_again(tmp_path: Path) -> None:
    folder = UpdateFolder(tmp_path)
    ensure_mqtt_key(folder, config(SERVICE_SUPERVISOR))
    key, told = folder.mqtt_key.read_bytes(), folder.mqtt_public_key.read_bytes()
    folder.mqtt_public_key.unlink()

    ensure_mqtt_key(folder, config(SERVICE_SUPERVISOR))

    assert (folder.mqtt_key.read_bytes(), folder.mqtt_public_key.read_bytes()) == (key, told)
    assert stat.S_IMODE(folder.mqtt_key.stat().st_mode) == 0o600


def test_a_damaged_key_is_said_and_not_replaced(tmp_path: Path) -> None:
    folder = UpdateFolder(tmp_path)
    folder.mqtt_key.write_text("half a key")

    with pytest.raises(StateDamaged, match=r"mqtt\.key"):
        ensure_mqtt_key(folder, config(SERVICE_SUPERVISOR))

    assert folder.mqtt_key.read_text() == "half a key"


def test_the_agents_user_may_read_it_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a file away")
    monkeypatch.setattr("agent.update.mqtt_key.SYSTEM_USER", "daemon")  # one that each Linux has
    group = grp.getgrnam("daemon").gr_gid
    folder = UpdateFolder(tmp_path)

    ensure_mqtt_key(folder, config(SERVICE_SYSTEMD))

    found = folder.mqtt_key.stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o640)
