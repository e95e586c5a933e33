"""What goes wrong on a board: processes that are killed, power that fails, a port that is taken, a full disk."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.contract.errors import OptionInvalid
from edge.sim import disk
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import make_bundle
from tests.journeys.laptop import Laptop, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def flashed(sims: Laptop) -> SimBoard:
    return SimBoard.take(sims, 1)


@pytest.fixture
def board(sims: Laptop, flashed: SimBoard) -> SimBoard:
    """A board that serves version 1."""
    sims.settings(probation_s="1.0", start_timeout_s="120.0")
    sims.does("flash", flashed.name, "digits@1")
    return flashed


@pytest.mark.bed
def test_a_supervisor_and_an_agent_that_are_killed_in_mid_trial(sims: Laptop, board: SimBoard) -> None:
    before = board.links()["current"]
    sims.settings(probation_s="30.0")
    flash = sims.started("flash", board.name, "digits@3", until="serves in probation")
    board.power_fails_for_processes("supervise", "apply", "run")
    assert flash.interrupt().code == 130
    assert board.links() == {"current": before, "trial": before + 1}
    sims.settings(probation_s="1.0")
    again = sims.does("flash", board.name, "digits@1")
    assert "edge's own supervisor did not run; it was started" in again.err
    reported = sims.reported(board.name)
    assert reported["current"]["models"][0]["release"] == "digits@1"
    assert board.links().keys() == {"current"}
    wait_until(board.serves, "version 1 serves")


@pytest.mark.bed
def test_a_power_cut_in_probation(sims: Laptop, board: SimBoard) -> None:
    sims.settings(probation_s="5.0")
    flash = sims.started("flash", board.name, "digits@3", until="serves in probation")
    board.breaks("power-cut")
    cut = flash.end()
    assert (cut.code, "[ssh.connection-lost]" in cut.err) == (4, True), cut
    assert board.processes() == ()
    unreachable = sims.does("flash", board.name, "digits@3", code=4)
    assert "[ssh.unreachable]" in unreachable.err
    board.breaks("mend")
    wait_until(lambda: board.release() == "digits@3", "the board tries it again by itself and confirms")
    assert "nothing to do" in sims.does("flash", board.name, "digits@3").err
    assert sims.reported(board.name)["history"][0]["state"] == "confirmed"
    sims.settings(probation_s="1.0")
    sims.does("flash", board.name, "--previous")
    wait_until(board.serves, "it serves")


@pytest.mark.bed
def test_a_port_that_is_taken(sims: Laptop) -> None:
    board = SimBoard.take(sims, 2)
    sims.settings(start_timeout_s="4.0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = sims.does("flash", board.name, "digits@1", "--port", str(port), code=3)
        assert "[agent.port-taken]" in refused.err
        assert str(port) in refused.err
        assert board.links() == {}
    sims.settings(start_timeout_s="120.0")
    sims.does("flash", board.name, "digits@1")
    assert board.agent()["port"] == port


@pytest.mark.bed
def test_a_full_disk(sims: Laptop, board: SimBoard, tmp_path: Path) -> None:
    if (why := disk.possible()) is not None:
        pytest.skip(why)
    bare = SimBoard.take(sims, 3)
    try:
        bare.breaks("disk-full")
    except OptionInvalid as error:
        pytest.skip(str(error))
    full = sims.does("flash", bare.name, "digits@1", code=1)
    assert "[board.disk-full]" in full.err
    assert bare.links() == {}

    fourth = make_bundle(tmp_path / "bundle", profile="sim-onnx", model="digits.onnx", mark="4")
    sims.does("publish", "digits", str(fourth))
    board.breaks("disk-full")
    (board.root / "inbox" / "blobs" / "filler").write_bytes(bytes(disk.SIZE_BYTES - 8192))
    agent, links = board.agent(), board.links()
    full = sims.does("flash", board.name, "digits@4", code=1)
    assert "[board.disk-full]" in full.err
    assert (board.agent(), board.links()) == (agent, links)
    board.breaks("mend")
    sims.does("flash", board.name, "digits@4")
    assert sims.reported(board.name)["current"]["models"][0]["release"] == "digits@4"
