"""One collector process, its broker, and boards that report to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.collector import client
from edge.config import FleetFolder
from tests.collector.fleets import Reporter, add_device, connected, make_fleet, stored

BOARD = "b-0000000000000001"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetFolder]:
    folder = make_fleet(tmp_path / "f")
    add_device(folder, "one", BOARD)
    yield folder
    client.stop(folder)


def test_what_a_board_measured_is_stored_once_and_acknowledged(fleet: FleetFolder) -> None:
    client.ensure(fleet)
    with Reporter(fleet, BOARD) as board:
        board.measure(100)
        assert board.drained()
    assert stored(fleet, BOARD) == list(range(1, 101))
    assert connected(fleet).stored == 100
