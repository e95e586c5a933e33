"""The agent's routes without a process around them, for tests that ask thousands of times."""

from __future__ import annotations

from pathlib import Path

from agent.config import read_generation
from agent.models import Model, open_bundle
from agent.serving.catalog import Catalog
from agent.serving.pace import Curve
from agent.serving.preparing import Prepared
from agent.serving.routes import Routes
from agent.serving.served import Served
from tests.agent.boards import TestBoard


def routes_of(board: TestBoard, models: dict[str, str]) -> Routes:
    """Routes to these models (name to bundle digest), each run on the caller's thread."""
    found = []
    for entry in read_generation(board.generation(1, models)).models:
        served = Served(entry)
        model = Model(open_bundle(_bundle(board, entry.bundle), expected=entry.bundle))
        served.loaded(Prepared(model, 0.0, Curve(0.0, 0.0), instances=(model,)))
        found.append(served)
    catalog = Catalog()
    catalog.exchange(found)
    catalog.finish()
    return Routes(catalog, version="0", exposition=bytes, status=dict)


def _bundle(board: TestBoard, digest: str) -> Path:
    return board.root / "objects" / digest
