"""The command line in this process: what it prints and the exit code that it ends with."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from edge.cli.main import run
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Repository

PASSPHRASE = "correct horse battery staple"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Edge(Protocol):
    def __call__(self, *arguments: str | Path, folder: Path | None = None) -> Ended: ...


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> FleetFolder:
    """An empty fleet; tests only read it."""
    folder = FleetFolder.create(tmp_path_factory.mktemp("fleet") / "f", "kitchen")
    keys = KeyRing(folder.keys)
    keys.create(lambda _: PASSPHRASE)
    Repository.create(folder.repository, keys, lambda _: PASSPHRASE)
    return folder


@pytest.fixture
def edge(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Edge:
    """Runs `edge ARGUMENTS` in a folder, an empty one unless it is said."""
    for name in ("EDGE_KEY_PASSPHRASE", "EDGE_SUDO_PASSWORD", "EDGE_LOGIN_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str | Path, folder: Path | None = None) -> Ended:
        with contextlib.chdir(folder or tmp_path):
            code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ended(int(code), out, err)

    return call
