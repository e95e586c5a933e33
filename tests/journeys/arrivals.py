"""What has arrived on the laptop, and whether all of it has: the store on one side, the board's outbox on the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edge.config import FleetFolder
from edge.telemetry.query import samples, streams
from edge.telemetry.records import StoredSample, StreamState
from edge.telemetry.store import Store
from tests.journeys.laptop import Laptop, wait_until

_HELD = (
    "import json, sqlite3; file = sqlite3.connect('file:/opt/edge/outbox/outbox.sqlite?mode=ro', uri=True);"
    " print(json.dumps(file.execute('SELECT boot, given FROM streams').fetchall()))"
)
GIVEN = f'python3 -c "{_HELD}"'
"""A command for a board's root: the highest number that was given in each start, as the board's own drive has it."""


def all_streams(laptop: Laptop) -> tuple[StreamState, ...]:
    """Of all boards, as the store holds them."""
    fleet = FleetFolder.open(laptop.folder)
    if not fleet.store.exists():
        return ()
    with Store.open(fleet.store) as store:
        return streams(store)


def boots(laptop: Laptop) -> set[str]:
    """The starts of agents that were heard of."""
    return {stream.boot for stream in all_streams(laptop)}


def first_sample(laptop: Laptop, boot: str) -> StoredSample | None:
    """Of a start, or None before it came."""
    with Store.open(FleetFolder.open(laptop.folder).store) as store:
        return next((sample for sample in samples(store) if sample.boot == boot), None)


def arrive(laptop: Laptop, more: int, *, seconds: float = 60) -> None:
    """Wait until so many more samples are stored."""
    before = sum(stream.samples for stream in all_streams(laptop))
    wait_until(
        lambda: sum(stream.samples for stream in all_streams(laptop)) >= before + more,
        what="samples",
        seconds=seconds,
    )


def nothing_is_missing(laptop: Laptop, asked: Callable[[str], str], *, seconds: float = 60) -> dict[str, int]:
    """Every number that the board says it gave is stored, in every start, or will be in a moment.

    Args:
        laptop: whose store. asked: runs a command as the board's root.

    Returns:
        By start: the highest number that the board knows of.
    """
    given: dict[str, int] = {boot: number for boot, number in json.loads(asked(GIVEN)) if number}
    assert given

    def stored() -> bool:
        found = {stream.boot: stream.high_water for stream in all_streams(laptop)}
        return all(found.get(boot, 0) >= number for boot, number in given.items())

    wait_until(stored, f"all of {given}", seconds=seconds)
    for stream in all_streams(laptop):
        assert stream.gaps == stream.breaks == 0, stream
        assert stream.high_water == stream.samples + stream.events, stream
    told = laptop.does("telemetry", "query", "--streams", "--json").json
    assert (told["missing"], told["refused"]) == ([], [])
    return given


def way(laptop: Laptop, name: str) -> dict[str, Any]:
    """How the collector reaches a board, by its own words."""
    boards = laptop.does("collect", "status", "--json").json["boards"]
    return next(board for board in boards if board["name"] == name)
