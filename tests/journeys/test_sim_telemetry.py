"""From a flash to rows on the laptop: the collector that a flash starts, its tunnel, and what survives what."""

from __future__ import annotations

import os
import signal

import pytest

from edge.collector import records
from edge.config import FleetFolder
from tests.journeys.arrivals import all_streams, arrive, way
from tests.journeys.boards import SimBoard
from tests.journeys.laptop import Laptop, wait_until

pytestmark = pytest.mark.timeout(300)


def test_a_flash_brings_the_boards_telemetry_to_the_laptop(sims: Laptop) -> None:
    sims.settings(interval_s="0.5")
    board = SimBoard.take(sims, 1)
    assert "the collector runs in the background" in sims.does("flash", board.name, "digits@1").err
    arrive(sims, 4)
    assert way(sims, board.name)["tunnel"] == "up"

    os.kill(collector(sims), signal.SIGKILL)
    assert "does not run" in sims.does("collect", "status", code=4).err
    sims.does("collect")
    arrive(sims, 4)

    sims.does("sim", "break", board.name, "unplug")
    wait_until(lambda: way(sims, board.name)["tunnel"] == "down", what="the cut", seconds=60)
    sims.does("sim", "break", board.name, "mend")
    arrive(sims, 4)

    (stream,) = all_streams(sims)
    assert stream.gaps == stream.breaks == 0
    assert stream.high_water == stream.samples + stream.events
    sims.does("device", "remove", board.name, "-y")
    wait_until(
        lambda: not sims.does("collect", "status", "--json").json["boards"],
        what="the end of the way",
        seconds=20,
    )


def collector(laptop: Laptop) -> int:
    found = records.read_running(FleetFolder.open(laptop.folder))
    assert found is not None
    return found.pid
