"""The agent's routes without a process around them, for tests that ask thousands of times."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path

from agent.config import read_generation
from agent.models import Model, open_bundle
from agent.serving.cache import ResultCache
from agent.serving.catalog import Catalog
from agent.serving.http import LARGEST_BODY
from agent.serving.messages import Response
from agent.serving.pace import Curve
from agent.serving.preparing import Prepared
from agent.serving.routes import Routes
from agent.serving.served import Served
from tests.agent.boards import TestBoard

QUICK = Curve(0.0, 1e-9)


def routes_of(board: TestBoard, models: dict[str, str], curve: Curve = QUICK) -> Routes:
    """Routes to these models (name to bundle digest), each run on the caller's thread where its curve is quick."""
    return routes_to(served_of(board, models, curve))


def served_of(board: TestBoard, models: dict[str, str], curve: Curve = QUICK) -> list[Served]:
    """These models, loaded."""
    found = []
    for entry in read_generation(board.generation(1, models)).models:
        served = Served(entry)
        model = Model(open_bundle(_bundle(board, entry.bundle), expected=entry.bundle))
        served.loaded(Prepared(model, curve.run_s(1), curve, instances=(model,)))
        found.append(served)
    return found


def routes_to(served: Sequence[Served], cache: ResultCache | None = None) -> Routes:
    """Routes to these."""
    catalog = Catalog(cache=cache)
    catalog.exchange(served)
    catalog.finish()
    return Routes(catalog, version="0", body_bytes=LARGEST_BODY, exposition=bytes, status=dict)


async def answered(outcome: Response | Awaitable[Response]) -> Response:
    """What a route gave, at once or after a while."""
    return outcome if isinstance(outcome, Response) else await outcome


def _bundle(board: TestBoard, digest: str) -> Path:
    return board.root / "objects" / digest
