"""A flash that is cut: the cable, Ctrl-C, half an upload. The board stays whole and the next flash goes on."""

from __future__ import annotations

import json

import pytest

from tests.beds.link import Link
from tests.journeys.boards import SimBoard
from tests.journeys.laptop import Laptop, wait_until

pytestmark = pytest.mark.timeout(300)

POINTS = ("profile sim-onnx", "runtime pushed", "installed in", "digits@1 pushed", "serves in probation")
"""Words of a first flash, each at the end of a step."""


def test_the_cable_breaks_after_each_step_of_a_first_flash(sims: Laptop) -> None:
    board = SimBoard.take(sims, 1)
    sims.settings(probation_s="3.0")
    reached = 0
    for point in POINTS:
        flash = sims.started("flash", board.name, "digits@1", until=point)
        board.breaks("cut")
        ended = flash.end()
        assert ended.code == 4, (point, ended)
        assert "[ssh.connection-lost]" in ended.err, (point, ended)
        board.is_consistent()
        reached += 1
    assert reached == len(POINTS)
    wait_until(lambda: board.links() == {"current": 1}, "the board confirms alone")
    assert "nothing to do" in sims.does("flash", board.name, "digits@1").err
    assert sims.reported(board.name)["state"] == "confirmed"


def test_ctrl_c_after_each_step_of_a_first_flash(sims: Laptop) -> None:
    board = SimBoard.take(sims, 2)
    for point in POINTS:
        ended = sims.started("flash", board.name, "digits@1", until=point).interrupt()
        assert ended.code == 130, (point, ended)
        assert "interrupted" in ended.err
        assert "Traceback" not in ended.err
        board.is_consistent()
    assert sims.does("flash", board.name, "digits@1").code == 0
    assert sims.reported(board.name)["counter"] == 1, "the same update was carried on, no new one asked for"


def test_an_upload_that_was_cut_in_the_middle_goes_on_there(sims: Laptop) -> None:
    bare = SimBoard.take(sims, 3)
    with Link(bare.plan.port) as link:
        through_the_link(bare, link.port)
        sims.does("device", "probe", bare.name)
        whole = 34_000_000
        link.cut_after(whole // 2)
        before = link.passed["to_board"]
        ended = sims.does("flash", bare.name, "digits@1", code=4)
        assert "[ssh.connection-lost]" in ended.err
        first = link.passed["to_board"] - before
        resumed = sims.does("flash", bare.name, "digits@1", "--json").json
        second = link.passed["to_board"] - before - first
    assert resumed["state"] == "confirmed"
    assert first == whole // 2
    assert 10_000_000 < second < whole * 0.62, "what lay on the board was not sent again"
    assert first + second < whole * 1.12


def through_the_link(board: SimBoard, port: int) -> None:
    """Reach the board over another port from now on."""
    path = board.laptop.folder / "devices" / f"{board.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "port": port}))
