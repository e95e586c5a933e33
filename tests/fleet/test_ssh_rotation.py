"""Another SSH key for the fleet, on real OpenSSH servers: a board is never left without a key that opens it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import AuthenticationFailed, FleetFolderBusy
from edge.config import FleetFolder, lock
from edge.fleet.connection import connect
from edge.identity import SshKey
from edge.inventory import Device
from edge.rollouts.ssh_rotation import replace_ssh_key
from edge.rollouts.workspace import Workspace
from tests.beds.board import free_port
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import shown_key

OTHERS = "# ssh-ed25519 of nobody\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 someone@else\n"


@pytest.fixture
def workspace(bed: SshdBoard, tmp_path: Path) -> Iterator[Workspace]:
    """A fleet of the module's board, which takes the fleet's key from its user's `authorized_keys` alone."""
    folder = FleetFolder.create(tmp_path / "f", "demo")
    workspace = Workspace(folder, lambda _: "")
    key = SshKey(folder.keys)
    ssh = bed.home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(OTHERS + key.public_line(key.current))
    own = ssh.parent.stat()
    for path in (ssh, ssh / "authorized_keys"):
        shutil.chown(path, own.st_uid, own.st_gid)
    (ssh / "authorized_keys").chmod(0o600)
    workspace.inventory.add(device(bed, "kitchen", bed.board.port))
    yield workspace
    shutil.rmtree(ssh)


def device(bed: SshdBoard, name: str, port: int) -> Device:
    key = shown_key(bed.board)
    return Device(
        name=name, device_id=f"b-{name}", host=bed.board.host, port=port, user=bed.board.user,
        host_key=key.text, fingerprint=key.fingerprint,
    )  # fmt: skip


def test_every_board_takes_the_new_key_alone_and_other_lines_stay(
    workspace: Workspace, bed: SshdBoard
) -> None:
    key = SshKey(workspace.folder.keys)
    former = key.public_line(key.current)
    (board,) = replace_ssh_key(workspace)
    assert board.problem is None
    assert key.former is None
    assert (bed.home / ".ssh/authorized_keys").read_text() == OTHERS + key.public_line(key.current)
    assert former not in (bed.home / ".ssh/authorized_keys").read_text()
    with connect(workspace.inventory.get("kitchen"), fleet=workspace.folder) as opened:
        assert opened.run(["true"]).status == 0


def test_a_board_that_is_away_keeps_the_former_key_and_is_said(workspace: Workspace, bed: SshdBoard) -> None:
    key = SshKey(workspace.folder.keys)
    line = key.public_line(key.current)
    workspace.inventory.add(device(bed, "cellar", free_port()))
    cellar, kitchen = replace_ssh_key(workspace)
    assert (cellar.device, cellar.problem is None) == ("cellar", False)
    assert (kitchen.device, kitchen.problem) == ("kitchen", None)
    assert key.former is not None
    (bed.home / ".ssh/authorized_keys").write_text(
        line
    )  # as on a board that was away: it knows the former key only
    with connect(workspace.inventory.get("kitchen"), fleet=workspace.folder) as opened:
        assert opened.run(["true"]).status == 0
    workspace.inventory.remove("cellar")
    (kitchen,) = replace_ssh_key(workspace)
    assert kitchen.problem is None
    assert key.former is None
    assert (bed.home / ".ssh/authorized_keys").read_text() == key.public_line(key.current)


def test_a_board_that_does_not_take_the_new_key_does_not_lose_the_old_one(
    workspace: Workspace, bed: SshdBoard
) -> None:
    """The new key is in the file already, for another address than this one."""
    key = SshKey(workspace.folder.keys)
    key.replace()
    assert key.former is not None
    lines = key.public_line(key.former) + f'from="192.0.2.1" {key.public_line(key.current)}'
    authorized = bed.home / ".ssh/authorized_keys"
    authorized.write_text(lines)
    (board,) = replace_ssh_key(workspace)
    assert isinstance(board.problem, AuthenticationFailed)
    assert authorized.read_text() == lines
    assert key.former is not None


def test_of_two_at_once_only_one_replaces_the_key(workspace: Workspace) -> None:
    key = SshKey(workspace.folder.keys)
    before = key.current.read_bytes()
    with lock(workspace.folder.keys), pytest.raises(FleetFolderBusy):
        replace_ssh_key(workspace)
    assert key.current.read_bytes() == before
    assert key.former is None


def test_a_public_half_of_before_does_not_stay_beside_the_new_key(tmp_path: Path) -> None:
    """Who opens a board while the key is replaced may write it once more."""
    key = SshKey(tmp_path)
    before = key.public_line(key.current)
    key.replace()
    (tmp_path / "ssh.pub").write_text(before)
    key.replace()
    assert key.public_line(key.current) != before
    assert key.former is not None
    assert key.public_line(key.former) == before
