from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.update.world import Board, Fleet, copied_fleet, copy_with_fleet, make_fleet, wait_until


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


@pytest.fixture(scope="session")
def flashed_once(made_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A board, cut off, that serves generation 1: `digits@1`, which is good. It waits to be copied."""
    path = tmp_path_factory.mktemp("flashed")
    fleet = copied_fleet(made_once, path)
    board = Board(path / "board", fleet, made_once.work / "placed")
    board.supervise()
    board.flash(1, fleet.publish("good"))
    board.stop()
    return board


@pytest.fixture
def flashed(flashed_once: Board, tmp_path: Path) -> Iterator[Board]:
    """The same, with its supervisor, and a fleet of its own."""
    board = copy_with_fleet(flashed_once, tmp_path / "flashed")
    board.supervise()
    wait_until(lambda: board.served().get("generation") == 1, "it serves")
    yield board
    board.stop()


@pytest.fixture
def simulated(bare: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update process in this process takes the board for a simulated one, as a process of the board's own does."""
    monkeypatch.setenv("EDGE_SIM", "1")
    monkeypatch.setenv("EDGE_SIM_SERIAL_FILE", str(bare.root / "serial"))
