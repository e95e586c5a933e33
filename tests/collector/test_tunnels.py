"""The boards' ways to the broker: over real sshd to the real broker here, and told of one elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.topics import TopicKind, subscription
from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector import tunnels
from edge.collector.broker import Broker
from edge.collector.tunnels import Tunnels
from edge.collector.ways import BROKER, DOWN, REFUSED, UP
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.sim import boards as sims
from tests.beds.board import bed_key
from tests.beds.fixtures import beds_swept, sshd_boards
from tests.beds.link import Link
from tests.beds.sshd import UID, SshdBoard, SshdOptions
from tests.collector.boards import SpeakingBoard, listened, wait_until
from tests.collector.conftest import COLLECTOR, Client, folder_with, own_mosquitto

__all__ = ["beds_swept", "sshd_boards"]

FLEET = "demo-abcdef"


class Ways:
    """A fleet folder with a broker and tunnels, as the collector holds them."""

    def __init__(self, path: Path, *, keys: Path | None = None, **settings: object) -> None:
        self.fleet = folder_with(path, **settings)
        if keys is not None:
            shutil.copytree(keys, self.fleet.keys, dirs_exist_ok=True)
        for suffix in ("", ".pub"):
            shutil.copy(f"{bed_key()}{suffix}", self.fleet.keys / f"ssh{suffix}")
        self.authority = CertificateAuthority(self.fleet.keys)
        self.broker: Broker | None = self.start_broker()
        self.tunnels = Tunnels(self.fleet, lambda: self.broker, COLLECTOR, self.authority)

    def start_broker(self) -> Broker:
        return brokers.start(self.fleet, COLLECTOR, self.authority)

    def collector(self) -> Client:
        """The collector's own connection, that hears all telemetry."""
        assert self.broker is not None
        client = Client(self.broker, (self.broker.certificate_file, self.broker.key_file))
        client.connected()
        client.subscribe(subscription(FLEET, TopicKind.TELEMETRY))
        return client

    def state(self, board: SpeakingBoard) -> str:
        found = self.tunnels.states().get(board.device_id)
        return found.state if found else "unknown"

    def reason(self, board: SpeakingBoard) -> str:
        return self.tunnels.states()[board.device_id].reason or ""

    def wait(self, board: SpeakingBoard, state: str, *, seconds: float = 20.0) -> None:
        wait_until(lambda: self.state(board) == state, seconds=seconds)

    def wait_for_another_port(self, board: SpeakingBoard, old: int) -> None:
        wait_until(lambda: board.port != old)
        self.wait(board, UP)

    def close(self) -> None:
        self.tunnels.close()
        if self.broker is not None:
            self.broker.stop()


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[Ways]:
    made = Ways(tmp_path / "f")
    yield made
    made.close()


def enrolled(bed: SshdBoard, *, port: int | None = None) -> SpeakingBoard:
    board = bed.board
    return SpeakingBoard(
        bed.name,
        bed.home,
        host=board.host,
        port=port or board.port,
        user=board.user,
        owner=UID if bed.isolated else None,
    )


Boards = Callable[..., SshdBoard]


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


def test_after_a_night_what_was_lost_is_tried_at_once(
    ways: Ways, sshd_boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = sshd_boards("night")
    with Link(bed.board.port) as link:
        board = enrolled(bed, port=link.port)
        link.unplug()
        ways.tunnels.set([board.device])
        wait_until(lambda: "does not answer" in ways.reason(board))
        ways.tunnels._ways[board.device_id].due = time.monotonic() + 3600
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
