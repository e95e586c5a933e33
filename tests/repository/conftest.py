from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.config import FleetFolder
from tests.repository.fleet import Fleet, make_fleet


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Making keys takes a second, on purpose."""
    return make_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def fleet(made_once: Fleet, tmp_path: Path) -> Fleet:
    """A fleet of its own for each test."""
    shutil.copytree(made_once.folder.path, tmp_path / "fleet")
    return made_once.moved(FleetFolder.open(tmp_path / "fleet"), tmp_path)
