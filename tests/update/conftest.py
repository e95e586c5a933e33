from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.update.world import Board, Fleet, copied_fleet, make_fleet


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Keys, a runtime and its unpacked layers take some seconds."""
    return make_fleet(tmp_path_factory.mktemp("made"))


@pytest.fixture
def fleet(made_once: Fleet, tmp_path: Path) -> Fleet:
    return copied_fleet(made_once, tmp_path)


@pytest.fixture
def bare(fleet: Fleet, made_once: Fleet, tmp_path: Path) -> Iterator[Board]:
    """An enrolled board that runs nothing yet, without a supervisor."""
    board = Board(tmp_path / "board", fleet, made_once.work / "placed")
    yield board
    board.stop()


@pytest.fixture
def board(bare: Board) -> Board:
    """The same with its supervisor."""
    bare.supervise()
    return bare


@pytest.fixture
def simulated(bare: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update process in this process takes the board for a simulated one, as a process of the board's own does."""
    monkeypatch.setenv("EDGE_SIM", "1")
    monkeypatch.setenv("EDGE_SIM_SERIAL_FILE", str(bare.root / "serial"))
