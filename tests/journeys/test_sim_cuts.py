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


@pytest.mark.bed
def test_the_cable_breaks_after_each_step_of_a_first_flash(sims: Laptop) -> None:
    board = SimBoard.take(sims, 1)
    sims.settings(probation_s="3.0")
    for point in POINTS:
        flash = sims.started("flash", board.name, "digits@1", until=point)
        board.breaks("cut")
        ended = flash.end()
        assert ended.code == 4, (point, ended)
        assert "[ssh.connection-lost]" in ended.err, (point, ended)
        board.is_consistent()
    wait_until(lambda: board.links() == {"current": 1}, "the board confirms alone")
    assert "nothing to do" in sims.does("flash", board.name, "digits@1").err
    assert sims.reported(board.name)["state"] == "confirmed"


@pytest.mark.bed
def test_ctrl_c_in_a_first_flash(sims: Laptop) -> None:
    board = SimBoard.take(sims, 2)
    for point in POINTS[1::2] + POINTS[-1:]:
        ended = sims.started("flash", board.name, "digits@1", until=point).interrupt()
        assert ended.code == 130, (point, ended)
        assert "interrupted" in ended.err
        assert "Traceback" not in ended.err
        board.is_consistent()
    sims.does("flash", board.name, "digits@1")
    assert board.links() == {"current": 1}
    assert sims.reported(board.name)["counter"] == 1, "the same update was carried on, no new one asked for"


@pytest.mark.bed
def test_an_upload_that_was_cut_in_the_middle_goes_on_there_and_so_does_any_other(sims: Laptop) -> None:
    board = SimBoard.take(sims, 3)
    with Link(board.plan.port) as link:
        through_the_link(board, link.port)
        sims.does("device", "probe", board.name)
        link.cut_after(17_000_000)
        ended = sims.does("flash", board.name, "digits@1", code=4)
        assert "[ssh.connection-lost]" in ended.err
        there = sum(path.stat().st_size for path in (board.root / "inbox" / "blobs").iterdir())
        assert 8_000_000 < there < 17_000_000
        before = link.passed["to_board"]
        assert sims.does("flash", board.name, "digits@1", "--json").json["state"] == "confirmed"
        sent = link.passed["to_board"] - before
        whole = sum(layer["size_bytes"] for layer in board.runtime()["layers"])
        assert whole - there < sent < whole - there + 1_500_000, "what lay on the board was not sent again"

        for count in (2_000, 9_000, 25_000):
            sims.does("collect", "stop")  # its tunnel goes through this link, too, and would be cut instead
            link.cut_after(count)
            ended = sims.does("flash", board.name, "digits@3", code=4)
            assert "[ssh." in ended.err
            assert board.links() == {"current": 1}
        sims.does("flash", board.name, "digits@3")
        reported = sims.reported(board.name)
    assert board.links() == {"current": reported["counter"]}
    assert board.release() == "digits@3"


def through_the_link(board: SimBoard, port: int) -> None:
    """Reach the board over another port from now on."""
    path = board.laptop.folder / "devices" / f"{board.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "port": port}))
