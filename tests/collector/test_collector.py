"""One collector process, its broker, and boards that report to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.codec import encode
from agent.contract.errors import CollectorAbsent, CollectorBusy, CollectorFailed, CollectorHung
from agent.contract.messages import Presence, PresenceMessage, Telemetry
from agent.contract.samples import Gap
from agent.contract.topics import TopicKind
from edge.collector import client, records
from edge.collector.process import collect
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.telemetry.decoding import MESSAGE_BYTES
from edge.telemetry.query import streams
from edge.telemetry.store import Store
from tests.collector.fleets import (
    Reporter,
    add_device,
    broker_pid,
    connected,
    eventually,
    kill_collector,
    make_fleet,
    sample,
    stored,
)

BOARD = "b-0000000000000001"
STRANGER = "b-00000000000000ff"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetFolder]:
    folder = make_fleet(tmp_path / "f")
    add_device(folder, "one", BOARD)
    yield folder
    client.stop(folder)


@pytest.fixture
def board(fleet: FleetFolder) -> Iterator[Reporter]:
    client.ensure(fleet)
    with Reporter(fleet, BOARD) as board:
        yield board


def test_what_a_board_measured_is_stored_once_and_acknowledged(fleet: FleetFolder, board: Reporter) -> None:
    board.measure(100)
    assert board.drained()
    assert stored(fleet, BOARD) == list(range(1, 101))
    assert connected(fleet).stored == 100


def test_it_outlives_the_command_that_started_it_and_is_found_again(fleet: FleetFolder) -> None:
    script = (
        "from pathlib import Path\nfrom edge.collector import client\nfrom edge.config import FleetFolder\n"
    )
    script += f"print(client.ensure(FleetFolder.open(Path({str(fleet.path)!r}))).pid)"
    first = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = client.running(fleet)
    assert found is not None
    assert found.pid == int(first.stdout)
    assert os.getsid(found.pid) == found.pid
    assert client.ensure(fleet) == found


def test_a_folder_has_one_collector(fleet: FleetFolder) -> None:
    first = client.ensure(fleet)
    with pytest.raises(CollectorBusy) as caught:
        collect(fleet)
    assert caught.value.facts["pid"] == first.pid


def test_commands_that_start_it_at_once_get_the_same_one(fleet: FleetFolder) -> None:
    script = (
        "from pathlib import Path\nfrom edge.collector import client\nfrom edge.config import FleetFolder\n"
    )
    script += f"print(client.ensure(FleetFolder.open(Path({str(fleet.path)!r}))).pid)"
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({each.communicate(timeout=30)[0] for each in both}) == 1


def test_a_copied_folder_has_no_collector_yet(fleet: FleetFolder, tmp_path: Path) -> None:
    client.ensure(fleet)
    connected(fleet)  # before that its store and its records are just being made
    copy = FleetFolder.open(Path(shutil.copytree(fleet.path, tmp_path / "copy")))
    assert client.running(copy) is None
    with pytest.raises(CollectorAbsent):
        client.status(copy)
    client.ensure(copy)
    assert client.stop(copy)
    assert client.running(fleet) is not None


@pytest.mark.bed
def test_one_that_is_stopped_is_named_and_not_waited_for_without_end(
    fleet: FleetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = client.ensure(fleet).pid
    monkeypatch.setattr(client, "START_S", 1.0)
    monkeypatch.setattr(client, "ENDING_S", 0.1)
    os.kill(pid, signal.SIGSTOP)
    stopped = Path(f"/proc/{pid}/stat")
    try:
        eventually(lambda: stopped.read_text().rpartition(") ")[2][0] == "T")  # a signal is not there at once
        for ask in (client.ensure, client.status, client.stop):
            with pytest.raises(CollectorHung, match=str(pid)):
                ask(fleet)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_a_killed_one_left_is_no_obstacle_and_the_id_is_the_same(fleet: FleetFolder) -> None:
    first = client.ensure(fleet)
    mine = connected(fleet).collector
    kill_collector(fleet)
    assert records.read_running(fleet) is not None
    assert client.running(fleet) is None
    assert client.ensure(fleet).pid != first.pid
    assert connected(fleet).collector == mine
    assert not Path(first.control).parent.exists()


def test_stopping_leaves_nothing_behind(fleet: FleetFolder) -> None:
    found = client.ensure(fleet)
    connected(fleet)
    broker = broker_pid(fleet)
    assert client.stop(fleet)
    assert client.running(fleet) is None
    assert records.read_running(fleet) is None
    assert not Path(found.control).parent.exists()
    for pid in (found.pid, broker):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not client.stop(fleet)
    with pytest.raises(CollectorAbsent):
        client.status(fleet)


def test_sigterm_commits_what_was_read_and_ends(fleet: FleetFolder, board: Reporter) -> None:
    board.measure(50)
    assert board.drained()
    found = client.ensure(fleet)
    os.kill(found.pid, signal.SIGTERM)
    eventually(lambda: records.read_running(fleet) is None)
    assert stored(fleet, BOARD) == list(range(1, 51))


def test_one_whose_socket_was_tidied_away_begins_anew(fleet: FleetFolder) -> None:
    found = client.ensure(fleet)
    shutil.rmtree(Path(found.control).parent)
    assert client.running(fleet) is None
    again = client.ensure(fleet)
    assert again.pid == found.pid
    assert again.control != found.control


def test_it_ends_when_its_folder_is_gone(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "gone")
    found = client.ensure(fleet)
    fleet.path.rename(tmp_path / "elsewhere")
    os.waitpid(found.pid, 0)


def test_one_whose_folder_is_moved_away_makes_nothing_at_the_old_place(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "f")
    add_device(fleet, "one", BOARD)
    found = client.ensure(fleet)
    with Reporter(fleet, BOARD) as board:
        board.measure(3)
        assert board.drained()
        fleet.path.rename(tmp_path / "moved")
        board.measure(3)
        eventually(lambda: not Path(found.control).exists())
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


def test_it_ends_when_nothing_happened_for_long_enough(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "idle", idle_stop_s=0.5)
    found = client.ensure(fleet)
    os.waitpid(found.pid, 0)
    assert "nothing happened" in (fleet.telemetry / records.LOG).read_text()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "f")
    records.make_folder(fleet)
    (fleet.telemetry / records.ENROLLED).write_text('{"collector": "me"}')
    with pytest.raises(CollectorFailed, match=r"collector\.json"):
        client.ensure(fleet)


def test_a_board_that_is_added_while_it_runs_is_taken_and_a_removed_one_is_not(
    fleet: FleetFolder, board: Reporter
) -> None:
    board.measure(1)
    assert board.drained()
    with Reporter(fleet, STRANGER) as stranger:
        stranger.measure(3)
        eventually(lambda: client.status(fleet).refused.get("device.unknown"))
        assert stored(fleet, STRANGER) == []
        add_device(fleet, "two", STRANGER)
        client.changed(fleet, "two")
        assert stranger.drained()
        assert stored(fleet, STRANGER) == [1, 2, 3]
        Inventory(fleet).remove("two")
        client.changed(fleet, "two")
        stranger.measure(1)
        assert not stranger.drained(1.0)


def test_bad_messages_are_counted_and_hold_nobody_up(fleet: FleetFolder, board: Reporter) -> None:
    good = encode(Telemetry(device=BOARD, boot="00000000000000bb", samples=(sample(1),)))
    bad = [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 5000,
        b"null",
        good.replace(b"{", b'{"new":' + b"[" * 900 + b"]" * 900 + b",", 1),
        good.replace(b"edge.message/1", b"edge.message/9"),
        good.replace(b'"seq":1', b'"seq":1e999'),
        good.replace(b'"cpu_s":1.0', b'"cpu_s":NaN'),
        good.replace(BOARD.encode(), STRANGER.encode()),
        good.replace(b'"boot":"00000000000000bb"', b'"boot":"../../etc"'),
        b"x" * (MESSAGE_BYTES + 1),
        b"x" * 3 * MESSAGE_BYTES,
    ]
    for payload in bad:
        for kind in (TopicKind.TELEMETRY, TopicKind.EVENT):
            board.say(kind, payload)
    board.measure(20)
    assert board.drained()
    end = time.monotonic() + 10  # the last may still be on its way when what is good has been acknowledged
    while sum(connected(fleet).refused.values()) < 2 * len(bad) and time.monotonic() < end:
        time.sleep(0.05)
    assert sum(connected(fleet).refused.values()) == 2 * len(bad)
    assert stored(fleet, BOARD) == list(range(1, 21))


def test_a_hole_waits_and_what_is_sent_again_fills_it(fleet: FleetFolder, board: Reporter) -> None:
    boot = "00000000000000cc"

    def telemetry(*numbers: int, gaps: tuple[Gap, ...] = ()) -> bytes:
        samples = tuple(sample(number) for number in numbers)
        return encode(Telemetry(device=BOARD, boot=boot, samples=samples, gaps=gaps))

    def high_water() -> int:
        with Store.open(fleet.store) as store:
            return next((each.high_water for each in streams(store) if each.boot == boot), -1)

    connected(fleet)
    for message in (telemetry(1, 2), telemetry(4, 5), telemetry(1, 2)):
        board.say(TopicKind.TELEMETRY, message)
    eventually(lambda: high_water() == 2)
    board.say(TopicKind.TELEMETRY, telemetry(3, 4, 5))
    eventually(lambda: high_water() == 5)
    board.say(TopicKind.TELEMETRY, telemetry(9, gaps=(Gap(6, 8),)))
    eventually(lambda: high_water() == 9)
    assert sorted(stored(fleet, BOARD)) == [1, 2, 3, 4, 5, 9]


def test_a_will_is_no_sign_of_life(fleet: FleetFolder, board: Reporter) -> None:
    board.measure(1)
    assert board.drained()
    lost = PresenceMessage(BOARD, board.boot, 1, Presence.LOST)
    before = connected(fleet).messages
    board.say(TopicKind.STATE, encode(lost), retain=True)
    eventually(lambda: client.status(fleet).messages > before)
    time.sleep(1.5)
    with Store.open(fleet.store) as store:
        assert store.connection.execute("SELECT presence FROM boards").fetchone()[0] is not None


def test_in_the_foreground_it_says_what_happens_until_it_is_interrupted(fleet: FleetFolder) -> None:
    edge = str(Path(sys.executable).with_name("edge"))
    command = subprocess.Popen(
        [edge, "collect", "--foreground"], cwd=fleet.path, stderr=subprocess.PIPE, start_new_session=True
    )
    connected(fleet)
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=20)
    assert command.returncode == 0
    assert b"connected to mosquitto" in said
    assert b"Traceback" not in said
    assert client.running(fleet) is None
