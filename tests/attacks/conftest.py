from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.attacks.stolen import keys_of
from tests.attacks.victims import Victim
from tests.update.conftest import bare, board, fleet, made_once
from tests.update.world import Board, Fleet, copied_fleet

__all__ = ["bare", "board", "fleet", "made_once"]


@pytest.fixture(scope="session")
def flashed_once(made_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A board that really was flashed once."""
    path = tmp_path_factory.mktemp("flashed")
    fleet = copied_fleet(made_once, path)
    board = Board(path / "board", fleet, made_once.work / "placed")
    release, better = fleet.publish("good"), fleet.publish("good better")
    board.supervise()
    try:
        assert board.flash(1, release).code is None
    finally:
        board.stop()
    for folder in ("metadata", "targets"):
        shutil.rmtree(board.root / "inbox" / folder)
    return Victim(board, release, better, keys_of(fleet))


@pytest.fixture
def victim(flashed_once: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
    found = flashed_once.copied(tmp_path)
    for name in ("EDGE_SIM", "EDGE_SIM_SERIAL_FILE"):
        monkeypatch.setenv(name, found.board.environment[name])
    return found
