"""`link/link.json` is from outside: what is wrong in it is said, and what was right before holds."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from agent.link.configuration import LIMIT_BYTES, Configuration
from tests.agent.conftest import RunningAgent
from tests.link.boards import LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import Collector
from tests.link.test_brokers import wait_for_words

Start = Callable[..., RunningAgent]


def test_a_board_that_nobody_collects_from_writes_nothing(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    start(board).ready()
    time.sleep(1.0)
    assert list((board.root / "outbox").iterdir()) == []

    board.report_to(broker.port)

    collector.wait(lambda: bool(collector.streams), "samples")
    assert [stream.samples[0] for stream in collector.streams.values()] == [1]


def test_a_new_port_and_interval_are_taken_up(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        board.report_to(nobody.getsockname()[1], interval_s=3600)
        start(board).ready()
        time.sleep(1.0)

    board.report_to(broker.port, interval_s=0.01)

    collector.wait(lambda: any(one.high >= 50 for one in collector.streams.values()), "50 samples")
    assert all(stream.whole and not stream.gaps for stream in collector.streams.values())


def test_another_collectors_acknowledgement_counts_nothing_until_it_is_the_boards(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    collector.answers = False
    board.report_to(broker.port, collector="the-new-one", interval_s=0.02)
    start(board).ready()
    collector.wait(lambda: len(collector.messages) > 8, "messages")
    [(boot, given)] = board.given().items()
    collector.acknowledge("d-0123456789", boot, given)
    time.sleep(1.0)
    assert board.acknowledged()[boot] == 0

    collector.answers = True
    board.report_to(broker.port, interval_s=0.02)

    collector.wait(lambda: boot in collector.streams and collector.streams[boot].high > given, "all")
    assert collector.streams[boot].whole


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (b"{", "link.json"),
        (b"\xff\xfe", "link.json"),
        (b'{"collector": "c", "url": "mqtt://127.0.0.1:1", "certificate": ""}', "mqtts://"),
        (b'{"collector": "c", "url": "mqtts://", "certificate": ""}', "no host"),
        (b'{"collector": "c", "url": "mqtts://a:99999", "certificate": ""}', "Port"),
        (b" " * (LIMIT_BYTES + 1), "longer than"),
    ],
)
def test_what_is_not_valid_is_said_once_and_the_last_valid_one_holds(
    board: LinkedBoard, what: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    board.report_to(1234)
    configuration = Configuration(board.root / "link/link.json")
    assert configuration.changed()
    assert not configuration.changed()
    before = configuration.now

    board.write_link(what)

    assert not configuration.changed()
    assert not configuration.changed()
    assert configuration.now is before is not None
    assert [reason in record.message for record in caplog.records] == [True]


def test_neither_a_link_nor_a_pipe_is_followed(board: LinkedBoard, caplog: pytest.LogCaptureFixture) -> None:
    path = board.root / "link/link.json"
    configuration = Configuration(path)
    board.report_to(1234)
    path.rename(board.root / "elsewhere.json")
    path.symlink_to(board.root / "elsewhere.json")
    assert not configuration.changed()
    path.unlink()
    os.mkfifo(path)
    assert not configuration.changed()
    assert configuration.now is None
    assert len(caplog.records) == 2


def test_a_configuration_that_is_taken_away_ends_the_reporting(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port)
    agent = start(board).ready()
    collector.wait(lambda: bool(collector.streams), "samples")
    (board.root / "link/link.json").unlink()
    time.sleep(1.5)
    given = board.given()
    time.sleep(1.0)
    assert board.given() == given
    assert agent.process.poll() is None


def test_an_agent_that_is_told_to_end_while_it_connects_ends_at_once(
    board: LinkedBoard, start: Start
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        board.report_to(deaf.getsockname()[1])
        agent = start(board).ready()
        time.sleep(1.0)
        began = time.monotonic()
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 0
        assert time.monotonic() - began < 2.0


def test_a_runtime_without_mqtt_serves_and_says_so(board: LinkedBoard, start: Start) -> None:
    packages = board.root / "objects" / ("b" * 64)
    everything = packages.resolve()
    packages.unlink()
    packages.mkdir()
    for entry in everything.iterdir():
        if not entry.name.startswith("paho"):
            (packages / entry.name).symlink_to(entry)
    board.report_to(1234)
    agent = start(board).ready()

    wait_for_words(agent, "this runtime can't report to a collector")

    assert agent.get("/v2/health/live")[0] == 200
