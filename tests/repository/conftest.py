from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import FleetFolder
from tests.repository.board import Follower
from tests.repository.fleet import Fleet, make_fleet, quick_keys


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Keys whose passphrase is guessed quickly: tests open them often, and none here is about that."""
    with quick_keys():
        return make_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def fleet(made_once: Fleet, tmp_path: Path) -> Fleet:
    """A fleet of its own for each test."""
    shutil.copytree(made_once.folder.path, tmp_path / "fleet")
    return made_once.moved(FleetFolder.open(tmp_path / "fleet"), tmp_path)


@pytest.fixture
def assigned(fleet: Fleet) -> Fleet:
    """A fleet with keys of its own, and one assignment."""
    own = fleet.with_own_keys()
    own.repository.assign(own.desired("b-1"))
    return own


@pytest.fixture
def follower(assigned: Fleet, tmp_path: Path) -> Follower:
    """A client that saw that assignment, and goes on from there."""
    follower = Follower(tmp_path / "follower", assigned.folder.repository)
    follower.desired("b-1")
    return follower


@pytest.fixture
def quick() -> Iterator[None]:
    """New keys are opened at once."""
    with quick_keys():
        yield
