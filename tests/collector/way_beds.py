"""A fleet folder with a broker and tunnels, as the collector holds them, for tests of the ways."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.contract.topics import TopicKind, subscription
from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector.broker import Broker
from edge.collector.tunnels import Tunnels
from edge.collector.ways import UP
from tests.beds.board import bed_key
from tests.beds.sshd import UID, SshdBoard
from tests.collector.boards import SpeakingBoard, wait_until
from tests.collector.conftest import COLLECTOR, Client, folder_with

FLEET = "demo-abcdef"


class Ways:
    """A fleet folder with a broker and tunnels, as the collector holds them."""

    def __init__(self, path: Path, *, keys: Path | None = None, **settings: object) -> None:
        self.fleet = folder_with(path, **settings)
        if keys is not None:
            shutil.copytree(keys, self.fleet.keys, dirs_exist_ok=True)
        for suffix in ("", ".pub"):
            shutil.copy(f"{bed_key()}{suffix}", self.fleet.keys / f"ssh{suffix}")
        self.authority = CertificateAuthority(self.fleet.keys)
        self.broker: Broker | None = self.start_broker()
        self.tunnels = Tunnels(self.fleet, lambda: self.broker, COLLECTOR, self.authority)

    def start_broker(self) -> Broker:
        return brokers.start(self.fleet, COLLECTOR, self.authority)

    def collector(self) -> Client:
        """The collector's own connection, that hears all telemetry."""
        assert self.broker is not None
        client = Client(self.broker, (self.broker.certificate_file, self.broker.key_file))
        client.connected()
        client.subscribe(subscription(FLEET, TopicKind.TELEMETRY))
        return client

    def state(self, board: SpeakingBoard) -> str:
        found = self.tunnels.states().get(board.device_id)
        return found.state if found else "unknown"

    def reason(self, board: SpeakingBoard) -> str:
        return self.tunnels.states()[board.device_id].reason or ""

    def wait(self, board: SpeakingBoard, state: str, *, seconds: float = 20.0) -> None:
        wait_until(lambda: self.state(board) == state, seconds=seconds)

    def wait_for_another_port(self, board: SpeakingBoard, old: int) -> None:
        wait_until(lambda: board.port != old)
        self.wait(board, UP)

    def close(self) -> None:
        self.tunnels.close()
        if self.broker is not None:
            self.broker.stop()


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[Ways]:
    made = Ways(tmp_path / "f")
    yield made
    made.close()


def enrolled(bed: SshdBoard, *, port: int | None = None) -> SpeakingBoard:
    board = bed.board
    return SpeakingBoard(
        bed.name,
        bed.home,
        host=board.host,
        port=port or board.port,
        user=board.user,
        owner=UID if bed.isolated else None,
    )


Boards = Callable[..., SshdBoard]
