"""The ways to a broker of one's own, of a laptop that slept, and of simulated boards."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.certificates import CertificateAuthority
from edge.collector import tunnels
from edge.collector.ways import BROKER, DOWN, UP
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.sim import boards as sims
from tests.beds.board import bed_key
from tests.beds.fixtures import beds_swept, sshd_boards
from tests.beds.link import Link
from tests.collector.boards import SpeakingBoard, listened, wait_until
from tests.collector.conftest import COLLECTOR, own_mosquitto
from tests.collector.way_beds import FLEET, Boards, Ways, enrolled, ways

__all__ = ["beds_swept", "sshd_boards", "ways"]


def test_of_a_broker_of_ones_own_each_board_is_told_once(tmp_path: Path, sshd_boards: Boards) -> None:
    bed = sshd_boards("told")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        before = link.connections
        # Told once, not again, told of another one, told of the tunnel, told of the other one again
        for url, connections in (
            ("a.example", 1),
            ("a.example", 1),
            ("b.example", 2),
            ("", 3),
            ("b.example", 4),
        ):
            shutil.rmtree(tmp_path / "f", ignore_errors=True)
            ways = Ways(tmp_path / "f", mqtt_url=f"mqtts://{url}:8884" if url else "")
            ways.tunnels._links._notes = tmp_path / "links"
            ways.tunnels._links._authority = CertificateAuthority(tmp_path / "keys")
            ways.tunnels.set([board.device])
            ways.wait(board, BROKER if url else UP)
            assert link.connections == before + connections
            if url:
                assert board.link.url == f"mqtts://{url}:8884"
                assert (board.link.session, board.link.server_name) == (None, None)
            ways.close()


def test_a_board_speaks_to_a_broker_of_ones_own(
    tmp_path: Path, sshd_boards: Boards, authority: CertificateAuthority
) -> None:
    with own_mosquitto(tmp_path / "own", authority) as own:
        url = f"mqtts://localhost:{own.port}"
        ways = Ways(tmp_path / "f", keys=authority._path, mqtt_url=url, mqtt_ca="keys/mqtt-ca.pem")
        board = enrolled(sshd_boards("direct"))
        ways.tunnels.set([board.device])
        ways.wait(board, BROKER)
        assert board.link.url == url
        collector = ways.collector()
        board.says(FLEET, b"hello")
        assert collector.hears()[1] == b"hello"
        collector.close()
        ways.close()


def test_a_board_that_was_away_is_told_of_ones_own_broker_later(tmp_path: Path, sshd_boards: Boards) -> None:
    bed = sshd_boards("later")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        link.unplug()
        ways = Ways(tmp_path / "f", mqtt_url="mqtts://a.example")
        ways.tunnels.set([board.device])
        wait_until(lambda: "does not answer" in ways.reason(board))
        assert not (board.folder / "link" / "link.json").exists()
        link.plug()
        ways.wait(board, BROKER, seconds=30)
        assert board.link.url == "mqtts://a.example:8883"
        ways.close()


def put_off(ways: Ways, board: SpeakingBoard) -> bool:
    """Let the next attempt be an hour away; False while one is under way, whose end would say otherwise."""
    with ways.tunnels._changed:
        way = ways.tunnels._ways[board.device_id]
        way.due = time.monotonic() + 3600
        return not way.busy


def test_after_a_night_what_was_lost_is_tried_at_once(
    ways: Ways, sshd_boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = sshd_boards("night")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        link.unplug()
        ways.tunnels.set([board.device])
        wait_until(lambda: "does not answer" in ways.reason(board))
        wait_until(lambda: put_off(ways, board))
        link.plug()
        time.sleep(tunnels.LOOK_S + 1)
        assert ways.state(board) == DOWN
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 8 * 3600)
        ways.wait(board, UP)


COLLECTOR_PROCESS = """
import sys, time
from pathlib import Path
from edge.certificates import CertificateAuthority
from edge.collector import broker
from edge.collector.tunnels import Tunnels
from edge.config import FleetFolder
from edge.inventory import Inventory
fleet = FleetFolder.open(Path(sys.argv[1]))
authority = CertificateAuthority(fleet.keys)
started = broker.start(fleet, sys.argv[2], authority)
tunnels = Tunnels(fleet, lambda: started, sys.argv[2], authority)
tunnels.set(Inventory(fleet).list())
time.sleep(600)
"""


def test_a_laptop_that_slept_through_the_loss_of_its_tunnels_makes_them_anew(
    tmp_path: Path, sshd_boards: Boards
) -> None:
    fleet = FleetFolder.create(tmp_path / "f", "demo")
    for suffix in ("", ".pub"):
        shutil.copy(f"{bed_key()}{suffix}", fleet.keys / f"ssh{suffix}")
    bed = sshd_boards("asleep")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        Inventory(fleet).add(board.device)
        arguments = [sys.executable, "-c", COLLECTOR_PROCESS, str(fleet.path), COLLECTOR]
        with subprocess.Popen(arguments) as laptop:
            try:
                wait_until((board.folder / "link" / "link.json").exists)
                wait_until(lambda: listened(board.port))
                first = board.port
                laptop.send_signal(signal.SIGSTOP)
                link.cut_now()
                wait_until(lambda: not listened(first))
                laptop.send_signal(signal.SIGCONT)
                wait_until(lambda: board.port != first)
                board.says(fleet.config.fleet, b"awake")
            finally:
                laptop.kill()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[tuple[Ways, SpeakingBoard]]:
    ways = Ways(tmp_path / "f")
    with ExitStack() as stack:
        stack.callback(ways.close)
        (shown,) = sims.up(ways.fleet, 1)
        stack.callback(sims.down, ways.fleet)
        board = SpeakingBoard(
            "sim-1", shown.folder / "home", host=shown.host, port=shown.port, user=shown.user, owner=None
        )
        ways.tunnels.set([board.device])
        ways.wait(board, UP)
        yield ways, board


def test_a_simulated_board_speaks_through_its_tunnel(simulated: tuple[Ways, SpeakingBoard]) -> None:
    ways, board = simulated
    collector = ways.collector()
    assert board.link.session is None
    board.says(FLEET, b"hello")
    assert collector.hears()[1] == b"hello"
    collector.close()


@pytest.mark.parametrize("fault", ["cut", "unplug", "power-cut", "reboot"])
def test_what_cuts_a_simulated_board_off_ends_its_tunnel(
    simulated: tuple[Ways, SpeakingBoard], fault: str
) -> None:
    ways, board = simulated
    port = board.port
    sims.break_board(ways.fleet, "sim-1", fault)
    wait_until(lambda: not listened(port), seconds=5)
    sims.break_board(ways.fleet, "sim-1", "mend")
    ways.wait_for_another_port(board, port)
    board.says(FLEET, b"after")
