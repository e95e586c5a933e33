"""Boards that report: a board's folder, an agent's process, a broker and a collector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.certificates import CertificateAuthority
from tests.agent.boards import TestBoard
from tests.agent.conftest import RunningAgent
from tests.link.boards import LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import Collector


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture
def board(tmp_path: Path, authority: CertificateAuthority) -> LinkedBoard:
    return LinkedBoard(tmp_path / "board", authority)


@pytest.fixture
def broker(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Broker]:
    broker = Broker(tmp_path / "broker", authority)
    yield broker.start()
    broker.kill()


@pytest.fixture
def collector(tmp_path: Path, authority: CertificateAuthority, broker: Broker) -> Iterator[Collector]:
    collector = Collector(tmp_path, authority, broker.port)
    yield collector
    collector.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    """Start agents that end with the test."""
    started: list[RunningAgent] = []

    def begin(board: TestBoard, **environment: str) -> RunningAgent:
        agent = RunningAgent(board, tmp_path / f"agent-{len(started)}.log", environment)
        started.append(agent)
        return agent

    yield begin
    for agent in started:
        agent.stop()
