"""The boards' ways to the broker here, over real sshd."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.collector.ways import DOWN, REFUSED, UP
from tests.beds.fixtures import beds_swept, sshd_boards
from tests.beds.link import Link
from tests.beds.sshd import UID, SshdOptions
from tests.collector.boards import SpeakingBoard, listened, wait_until
from tests.collector.conftest import COLLECTOR
from tests.collector.way_beds import FLEET, Boards, Ways, enrolled, ways

__all__ = ["beds_swept", "sshd_boards", "ways"]


def test_a_board_speaks_through_its_tunnel(ways: Ways, sshd_boards: Boards) -> None:
    board = enrolled(sshd_boards("one"))
    collector = ways.collector()
    ways.tunnels.set([board.device])
    ways.wait(board, UP)
    assert board.link.server_name == "edge-broker"
    assert (board.link.collector, board.link.interval_s) == (COLLECTOR, 10.0)
    assert board.link.outbox_bytes == 64_000_000
    assert board.link.session is not None
    board.says(FLEET, b"hello")
    assert collector.hears()[1] == b"hello"
    collector.close()


def test_a_cut_cable_is_answered_by_a_new_tunnel(ways: Ways, sshd_boards: Boards) -> None:
    bed = sshd_boards("cut")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        collector = ways.collector()
        ways.tunnels.set([board.device])
        ways.wait(board, UP)
        first = board.port
        link.cut_now()
        ways.wait_for_another_port(board, first)
        assert not listened(first)
        board.says(FLEET, b"after")
        assert collector.hears()[1] == b"after"
        collector.close()


def test_a_board_that_is_away_says_why_and_comes_back(ways: Ways, sshd_boards: Boards) -> None:
    bed = sshd_boards("away")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        ways.tunnels.set([board.device])
        ways.wait(board, UP)
        since = ways.tunnels.states()[board.device_id].since
        link.unplug()
        ways.wait(board, DOWN)
        wait_until(lambda: "does not answer" in ways.reason(board))
        assert ways.tunnels.states()[board.device_id].since > since
        link.plug()
        ways.wait(board, UP, seconds=30)


def test_a_killed_session_is_answered_by_a_new_tunnel(ways: Ways, sshd_boards: Boards) -> None:
    bed = sshd_boards("killed")
    board = enrolled(bed)
    ways.tunnels.set([board.device])
    ways.wait(board, UP)
    first = board.port
    bed.power_cut()
    ways.wait(board, DOWN)
    bed.boot()
    ways.wait_for_another_port(board, first)


def test_a_port_that_a_sleeping_laptop_left_is_freed(ways: Ways, sshd_boards: Boards) -> None:
    """The cable swallows everything: the board knows nothing of it, and its old session holds the old port."""
    bed = sshd_boards("stale")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        ways.tunnels.set([board.device])
        ways.wait(board, UP)
        first, session = board.port, board.link.session
        link.stall()
        assert listened(first)
        ways.tunnels.set([replace(board.device, port=bed.board.port)])  # it is found at another address
        ways.wait_for_another_port(board, first)
        assert board.link.session != session
        wait_until(lambda: not listened(first))
        link.resume()


def test_a_board_that_is_taken_out_has_no_tunnel(ways: Ways, sshd_boards: Boards) -> None:
    board = enrolled(sshd_boards("out"))
    ways.tunnels.set([board.device])
    ways.wait(board, UP)
    port = board.port
    ways.tunnels.set([])
    assert ways.tunnels.states() == {}
    wait_until(lambda: not listened(port))


def test_a_board_that_forwards_nothing_is_asked_rarely_and_named_once(
    ways: Ways, sshd_boards: Boards, caplog: pytest.LogCaptureFixture
) -> None:
    bed = sshd_boards("closed", SshdOptions(extra=("AllowTcpForwarding local",)))
    with Link(bed.board.port) as link, caplog.at_level(logging.INFO):
        board = enrolled(bed, port=link.port)
        before = link.connections
        ways.tunnels.set([board.device])
        ways.wait(board, REFUSED)
        assert "its sshd forbids it" in ways.reason(board)
        time.sleep(3)
        assert link.connections == before + 1
        ways.tunnels.changed(board.name)  # unless a command asks for it
        wait_until(lambda: link.connections == before + 2)
        time.sleep(1)
        said = [each for each in caplog.records if "refuses to forward" in each.getMessage()]
        assert [each.levelno for each in said] == [logging.WARNING]


def test_a_broker_that_moved_is_found_through_the_same_tunnel(ways: Ways, sshd_boards: Boards) -> None:
    board = enrolled(sshd_boards("moved"))
    ways.tunnels.set([board.device])
    ways.wait(board, UP)
    port = board.port
    assert ways.broker is not None
    ways.broker.stop()
    (ways.fleet.telemetry / "broker" / "broker.json").unlink()
    old, ways.broker = ways.broker.port, ways.start_broker()
    assert ways.broker.port != old
    collector = ways.collector()
    board.says(FLEET, b"there")
    assert collector.hears()[1] == b"there"
    assert board.port == port
    collector.close()


def test_a_board_that_was_enrolled_anew_gets_a_certificate_for_its_new_key(
    ways: Ways, sshd_boards: Boards
) -> None:
    board = enrolled(sshd_boards("anew"))
    ways.tunnels.set([board.device])
    ways.wait(board, UP)
    old, certificate = board.port, board.link.certificate
    ways.tunnels.changed(board.name)
    time.sleep(1)
    assert (board.port, board.link.certificate) == (old, certificate)  # a flash changes nothing of it
    board.new_key()
    ways.tunnels.changed(board.name)
    wait_until(lambda: board.link.certificate != certificate)
    assert board.port == old
    board.says(FLEET, b"hello")


def test_a_board_without_a_key_is_waited_for(ways: Ways, sshd_boards: Boards) -> None:
    board = enrolled(sshd_boards("early"))
    (board.folder / "mqtt.pub").rename(board.folder / "later")
    ways.tunnels.set([board.device])
    wait_until(lambda: "has no key for its telemetry yet" in ways.reason(board))
    (board.folder / "later").rename(board.folder / "mqtt.pub")
    ways.wait(board, UP)


def test_before_there_is_a_broker_nothing_is_dug(tmp_path: Path, sshd_boards: Boards) -> None:
    ways = Ways(tmp_path / "f")
    started, ways.broker = ways.broker, None
    board = enrolled(sshd_boards("before"))
    ways.tunnels.set([board.device])
    wait_until(lambda: ways.reason(board) == "there is no broker yet")
    ways.broker = started
    ways.wait(board, UP)
    ways.close()


def test_many_tunnels_cost_two_threads_each_and_none_is_left(tmp_path: Path, sshd_boards: Boards) -> None:
    before = {thread.name for thread in threading.enumerate()}
    ways = Ways(tmp_path / "f", pool=2)
    bed = sshd_boards("many")
    boards = []
    for number in range(6):
        home = bed.home / f"home-{number}"
        board = SpeakingBoard(
            f"many-{number}",
            home,
            host=bed.board.host,
            port=bed.board.port,
            user=bed.board.user,
            owner=UID if bed.isolated else None,
        )
        board.device = replace(board.device, root=f"~/home-{number}/.edge")
        if bed.isolated:
            os.chown(home, UID, UID)
        boards.append(board)
    ways.tunnels.set([board.device for board in boards])
    for board in boards:
        ways.wait(board, UP)
    assert len({board.port for board in boards}) == 6
    names = [thread.name for thread in threading.enumerate() if thread.name not in before]
    assert len([name for name in names if name.startswith("edge-tunnel-many")]) == 6
    assert len([name for name in names if name.startswith("edge-tunnel-make")]) <= 2
    ways.close()
    wait_until(lambda: not {thread.name for thread in threading.enumerate()} - before, seconds=5)


def test_closing_does_not_wait_for_a_board_that_says_nothing(ways: Ways, sshd_boards: Boards) -> None:
    bed = sshd_boards("mute")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        link.stall()
        ways.tunnels.set([board.device])
        time.sleep(0.5)
        began = time.monotonic()
        ways.tunnels.close()
        assert time.monotonic() - began < 1
        link.resume()
