"""What a folder that is behind does with a board's word, and with boards that can't be asked."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import RepositoryBehind, RootOther, VersionsAbsurd
from agent.contract.messages import Reported, TrustedRole
from agent.contract.states import UpdateState
from edge.config import FleetFolder
from edge.inventory import Device, Inventory
from edge.progress import Silent
from edge.rollouts.catching_up import catch_up, go_past
from edge.rollouts.workspace import Workspace
from tests.repository.conftest import made_once
from tests.repository.fleet import Fleet, passphrase

__all__ = ["made_once"]


@pytest.fixture
def workspace(made_once: Fleet, tmp_path: Path) -> Workspace:
    shutil.copytree(made_once.folder.path, tmp_path / "f")
    return Workspace(FleetFolder.open(tmp_path / "f"), passphrase)


def said(**versions: int) -> Reported:
    trust = tuple(TrustedRole(role=role, version=version, expires=9) for role, version in versions.items())
    return Reported(device="b-1", counter=1, state=UpdateState.CONFIRMED, nonce="", wall=0, trust=trust)


def timestamp(workspace: Workspace) -> bytes:
    return (workspace.folder.repository / "metadata/timestamp.json").read_bytes()


def test_where_nobody_can_give_the_passphrase_the_command_that_can_is_named(workspace: Workspace) -> None:
    alone = Workspace(workspace.folder, lambda _: "")
    before = timestamp(workspace)
    with pytest.raises(RepositoryBehind, match="targets 40") as caught:
        go_past(alone, "pi", said(timestamp=50, targets=40), Silent())
    assert "edge key restore" in str(caught.value.hint)
    assert timestamp(workspace) == before
    go_past(alone, "pi", said(timestamp=50), Silent())
    assert timestamp(workspace) != before
    go_past(workspace, "pi", said(timestamp=60, targets=40), Silent())
    assert workspace.versions.ahead(said(timestamp=60, targets=40).trust) == {}


@pytest.mark.parametrize(
    ("error", "reported"), [(RootOther, said(root=2)), (VersionsAbsurd, said(snapshot=1 << 62))]
)
def test_what_should_not_be_gone_past_changes_nothing(
    workspace: Workspace, error: type[Exception], reported: Reported
) -> None:
    before = timestamp(workspace)
    with pytest.raises(error):
        go_past(workspace, "pi", reported, Silent())
    go_past(workspace, "pi", None, Silent())
    go_past(workspace, "pi", said(), Silent())
    assert timestamp(workspace) == before


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_boards_that_do_not_answer_are_named_and_the_rest_is_done(
    workspace: Workspace, closed_port: int
) -> None:
    for name, root in (("away", "/opt/edge"), ("bare", None)):
        Inventory(workspace.folder).add(
            Device(
                name=name, device_id=f"b-{name}", host="127.0.0.1", port=closed_port, user="pi", root=root,
                host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFXyG6Yp1ZBUf9SSeuJpVpQfVxvqLAWHFvx6J1kVZ5mJ",
                fingerprint="SHA256:x", public_key="ab" * 32 if root else None,
            )
        )  # fmt: skip
    before = timestamp(workspace)
    caught_up = catch_up(workspace, Silent())
    assert [board.device for board in caught_up.asked] == ["away"], "who was never flashed has seen nothing"
    assert caught_up.asked[0].problem is not None
    assert caught_up.asked[0].problem.code.startswith("ssh.")
    assert not caught_up.complete
    assert timestamp(workspace) != before
