"""What `edge doctor` finds, and the exit code that says how bad it is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.inventory import Device, Inventory, new_device_id
from edge.repository import Repository
from tests.cli.conftest import PASSPHRASE, Edge

DAY_S = 86400


@pytest.fixture
def copy(fleet: FleetFolder, tmp_path: Path) -> FleetFolder:
    return FleetFolder.open(Path(shutil.copytree(fleet.path, tmp_path / "copy")))


def found(edge: Edge, folder: Path, what: str, *, code: int) -> dict[str, Any]:
    ended = edge("doctor", "--json", folder=folder)
    assert ended.code == code, ended
    return next(finding for finding in ended.json if finding["what"] == what)


def test_a_healthy_folder(edge: Edge, copy: FleetFolder) -> None:
    assert found(edge, copy.path, "keys", code=0)["verdict"] == "good"
    assert found(edge, copy.path, "repository", code=0)["verdict"] == "good"


def test_outside_a_fleet_folder_this_machine_is_looked_at(edge: Edge, tmp_path: Path) -> None:
    finding = found(edge, tmp_path, "fleet", code=0)
    assert (finding["verdict"], "edge init" in finding["hint"]) == ("note", True)


def test_a_key_that_others_can_read(edge: Edge, copy: FleetFolder) -> None:
    (copy.keys / "desired.key").chmod(0o644)
    finding = found(edge, copy.path, "keys", code=1)
    assert (finding["verdict"], "desired.key" in finding["text"]) == ("bad", True)
    assert "chmod 600" in edge("doctor", folder=copy.path).err


@pytest.mark.parametrize(("ago_days", "verdict", "code"), [(350, "doubt", 0), (400, "bad", 1)])
def test_signatures_that_end(edge: Edge, tmp_path: Path, ago_days: int, verdict: str, code: int) -> None:
    folder = FleetFolder.create(tmp_path / "old", "old")
    keys = KeyRing(folder.keys)
    keys.create(lambda _: PASSPHRASE)
    Repository.create(
        folder.repository, keys, lambda _: PASSPHRASE, clock=lambda: time.time() - ago_days * DAY_S
    )
    finding = found(edge, folder.path, "repository", code=code)
    assert (finding["verdict"], finding["hint"]) == (verdict, "run `edge repo refresh`")
    assert edge("repo", "refresh", folder=folder.path).code == 0
    assert found(edge, folder.path, "repository", code=0)["verdict"] == "good"


def test_a_repository_that_was_changed(edge: Edge, copy: FleetFolder) -> None:
    path = copy.repository / "metadata" / "timestamp.json"
    path.write_bytes(path.read_bytes().replace(b"snapshot", b"snapshat"))
    assert found(edge, copy.path, "repository", code=1)["verdict"] == "bad"


def test_a_board_that_can_not_be_reached_is_incomplete(edge: Edge, copy: FleetFolder) -> None:
    Inventory(copy).add(
        Device(
            name="pi", device_id=new_device_id(), host="127.0.0.1", port=1, user="pi",
            host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDEmt8R0YDBbG3W4VXnNnRm8rLvZWKDZWQKSd1Ze3Ba",
            fingerprint="SHA256:abc",
        )
    )  # fmt: skip
    finding = found(edge, copy.path, "connection", code=4)
    assert (finding["where"], finding["verdict"]) == ("pi", "doubt")
    (copy.devices / "pi.json").write_text("{")
    assert found(edge, copy.path, "connection", code=1)["verdict"] == "bad"
