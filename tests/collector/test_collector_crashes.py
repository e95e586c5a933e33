"""What is killed, cut, full or asleep: nothing is lost, nothing is stored twice, nobody is blamed."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.codec import encode
from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector import client, records, session
from edge.collector.broker import Broker
from edge.collector.ingest_loop import STARTING, IngestLoop
from edge.collector.records import CollectorStatus
from edge.config import FleetFolder
from edge.ports import free_port
from edge.telemetry.store import Store
from tests.collector.fleets import (
    Reporter,
    add_device,
    broker_pid,
    connected,
    eventually,
    kill_collector,
    make_fleet,
    stored,
)

BOARDS = tuple(f"b-000000000000000{number}" for number in range(1, 4))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetFolder]:
    folder = make_fleet(tmp_path / "f")
    for number, board in enumerate(BOARDS):
        add_device(folder, f"board-{number}", board)
    yield folder
    client.stop(folder)


def report_while(fleet: FleetFolder, disturb: list[str], *, seed: int, pause_s: float = 0.25) -> None:
    """Three boards measure all the time while the parts named are killed; afterwards all must be there, once."""
    client.ensure(fleet)
    connected(fleet)
    chance = random.Random(seed)
    boards = [Reporter(fleet, device, f"{number:016x}") for number, device in enumerate(BOARDS)]
    for board in boards:
        board.__enter__()
    try:
        for what in disturb:
            for board in boards:
                board.measure(chance.randrange(20, 120))
            time.sleep(chance.uniform(0, pause_s))
            if what == "collector":
                kill_collector(fleet)
                client.ensure(fleet)
                connected(fleet)
            else:
                old = broker_pid(fleet)
                os.kill(old, signal.SIGKILL)
                eventually(lambda old=old: broker_pid(fleet) != old)
        for board in boards:
            assert board.drained(), f"{board.device} waits for more than {board.acknowledged}"
    finally:
        for board in boards:
            board.__exit__()
    for board in boards:
        assert stored(fleet, board.device) == list(range(1, board.measured + 1))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.bed)])
def test_a_collector_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    fleet: FleetFolder, seed: int
) -> None:
    report_while(fleet, ["collector"] * 5, seed=seed)


def test_a_broker_that_is_killed_and_forgets_everything_loses_nothing(fleet: FleetFolder) -> None:
    report_while(fleet, ["broker"] * 3, seed=7)


def test_both_killed_in_turn_lose_nothing(fleet: FleetFolder) -> None:
    report_while(fleet, ["broker", "collector", "collector", "broker"], seed=11)


def test_a_full_store_acknowledges_nothing_says_so_and_goes_on_when_there_is_room(fleet: FleetFolder) -> None:
    """The kernel refuses what would make a file longer, as a full drive does."""
    running = client.ensure(fleet)
    with Reporter(fleet, BOARDS[0]) as board:
        board.measure(10)
        assert board.drained()
        before = resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        board.measure(10)
        found = waiting(fleet)
        assert "can't be used" in str(found.waits_for)
        assert not found.connected
        assert not board.drained(1.0)
        assert stored(fleet, board.device) == list(range(1, 11))
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, before)
        assert board.drained()
        assert stored(fleet, board.device) == list(range(1, 21))


def waiting(fleet: FleetFolder) -> CollectorStatus:
    """The status of a collector that can't go on."""
    found = eventually(lambda: (s := client.status(fleet)).waits_for not in (None, STARTING) and s)
    assert isinstance(found, CollectorStatus)
    return found


def test_a_night_asleep_is_no_boards_silence(fleet: FleetFolder) -> None:
    """SIGSTOP stands for the closed lid."""
    found = client.ensure(fleet)
    with Reporter(fleet, BOARDS[0]) as board:
        board.measure(1)
        assert board.drained()
    os.kill(found.pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(found.pid, signal.SIGCONT)
    connected(fleet)
    time.sleep(1.5)
    assert "Traceback" not in (fleet.telemetry / records.LOG).read_text()


def test_a_broker_of_ones_own_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    fleet = make_fleet(tmp_path / "own", mqtt_url=f"mqtts://127.0.0.1:{port}")
    client.ensure(fleet)
    try:
        found = waiting(fleet)
        assert f"127.0.0.1:{port}" in str(found.waits_for)
        assert found.broker_kind == "own"
    finally:
        client.stop(fleet)


def test_a_listener_that_accepts_and_says_nothing_is_waited_for_and_can_be_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: taken.append(mute.accept()[0]), daemon=True).start()
        fleet = make_fleet(tmp_path / "mute", mqtt_url=f"mqtts://127.0.0.1:{mute.getsockname()[1]}")
        client.ensure(fleet)
        eventually(lambda: taken)
        began = time.monotonic()
        client.stop(fleet)
        assert time.monotonic() - began < 9


def test_a_broker_that_runs_and_answers_nobody_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_S", 0.5)
    fleet = make_fleet(tmp_path / "f")
    records.make_folder(fleet)
    identity, authority = records.enrolled_id(fleet), CertificateAuthority(fleet.keys)
    started: list[Broker] = []

    def start_broker() -> Broker:
        started.append(brokers.start(fleet, identity, authority))
        if len(started) == 1:
            os.kill(started[0].pid or 0, signal.SIGSTOP)
        return started[-1]

    loop = IngestLoop(
        fleet=fleet.config.fleet,
        collector_id=identity,
        open_store=lambda: Store.open(fleet.store, writer=True),
        start_broker=start_broker,
        heard=lambda _acks, _rx: None,
        tick=lambda _store: None,
    )
    loop.start()
    try:
        eventually(lambda: loop.connected)
        assert [broker.alive() for broker in started] == [False, True]
    finally:
        loop.stop()
    assert not started[-1].alive()


def test_two_collectors_of_one_id_at_one_broker_do_not_put_each_other_out_without_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = make_fleet(tmp_path / "f")
    records.make_folder(fleet)
    identity, authority = records.enrolled_id(fleet), CertificateAuthority(fleet.keys)
    broker = brokers.start(fleet, identity, authority)
    loops = [
        IngestLoop(
            fleet=fleet.config.fleet,
            collector_id=identity,
            open_store=lambda name=name: Store.open(tmp_path / name / "store.sqlite", writer=True),
            start_broker=lambda: broker,
            heard=lambda _acks, _rx: None,
            tick=lambda _store: None,
        )
        for name in ("one", "two")
    ]
    running = records.Running(os.getpid(), "nowhere", 0, broker.port)
    (fleet.telemetry / records.RUNNING).write_bytes(encode(running))
    try:
        with Reporter(fleet, BOARDS[0]) as board, caplog.at_level(logging.INFO, "edge.collector.ingest_loop"):
            board.measure()  # so that each connection hears something, and is one of use
            for loop in loops:
                loop.start()
            time.sleep(6)
        connections = [said for said in caplog.messages if said.startswith("connected")]
        assert 2 <= len(connections) < 16
    finally:
        for loop in loops:
            loop.stop()
        broker.stop()
