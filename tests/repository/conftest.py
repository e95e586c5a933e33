from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.config import FleetFolder
from edge.identity import keyfile
from tests.repository.fleet import Fleet, make_fleet


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Keys whose passphrase is guessed quickly: tests open them often, and none here is about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyfile, "KDF_ROUNDS", 1)
        return make_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def fleet(made_once: Fleet, tmp_path: Path) -> Fleet:
    """A fleet of its own for each test."""
    shutil.copytree(made_once.folder.path, tmp_path / "fleet")
    return made_once.moved(FleetFolder.open(tmp_path / "fleet"), tmp_path)
