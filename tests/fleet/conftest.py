"""Boards for the tests of the way to a board: real OpenSSH servers, reached as a user reaches them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import FleetFolder
from edge.fleet.address import Address
from edge.fleet.connection import Board, connect
from edge.fleet.host_keys import HostKey, parse_host_key
from edge.fleet.timeouts import Timeouts
from tests.beds.board import BedBoard, bed_key
from tests.beds.fixtures import beds_swept, or_skip, sshd_boards, systemd_boards
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard

__all__ = ["beds_swept", "sshd_boards", "systemd_boards"]

Open = Callable[..., Board]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> FleetFolder:
    """A fleet folder whose SSH key opens every bed."""
    folder = FleetFolder.create(tmp_path_factory.mktemp("fleet") / "f", "demo")
    for suffix in ("", ".pub"):
        shutil.copy(f"{bed_key()}{suffix}", folder.keys / f"ssh{suffix}")
    return folder


@pytest.fixture(scope="module")
def bed(beds_swept: None) -> Iterator[SshdBoard]:
    """One board with sshd, shared by a module's tests."""
    with or_skip(lambda: SshdBoard("fleet")) as board:
        yield board


@pytest.fixture(scope="module")
def link(bed: SshdBoard) -> Iterator[Link]:
    """A cable to that board, whole again after each use."""
    with Link(bed.board.port) as link:
        yield link


@pytest.fixture
def open_board(fleet: FleetFolder, bed: SshdBoard) -> Iterator[Open]:
    """Opens connections to the module's board, or to another one; closed at the end."""
    opened: list[Board] = []

    def open_it(where: BedBoard | None = None, *, port: int | None = None, **options: object) -> Board:
        timeouts = {name: options.pop(name) for name in list(options) if name.endswith("_s")}
        address = pinned(where or bed.board, port=port)
        board = connect(address, fleet=fleet, timeouts=Timeouts(**timeouts), **options)
        opened.append(board)
        return board

    yield open_it
    for board in opened:
        board.close()


def pinned(board: BedBoard, *, port: int | None = None, user: str | None = None) -> Address:
    """The address of a bed with the host key that it must show, scanned over its own port."""
    return Address(
        host=board.host,
        port=port or board.port,
        user=user or board.user,
        host_key=shown_key(board).text,
        name=board.name,
    )


def shown_key(board: BedBoard) -> HostKey:
    from edge.fleet.connection import scan_host_key

    key = scan_host_key(Address(host=board.host, port=board.port, user=board.user))
    assert key.fingerprint == board.host_key_fingerprint
    assert HostKey.of(parse_host_key(key.text)) == key
    return key


def inbox_files(root: Path) -> dict[str, int]:
    """Names and lengths of all files below a folder."""
    return {
        str(path.relative_to(root)): path.stat().st_size for path in sorted(root.rglob("*")) if path.is_file()
    }
