"""The brokers that a board meets: old ones, silent ones, wrong ones, and those where somebody else has its name."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from agent.contract.link import BROKER_NAME
from agent.link.connection import Way, _context
from edge.certificates import CertificateAuthority
from tests.agent.conftest import RunningAgent
from tests.link.boards import DEVICE, LinkedBoard
from tests.link.broker import Broker, free_port, wait_for_port
from tests.link.collector import Collector

Start = Callable[..., RunningAgent]
Other = Callable[[str], int]


@pytest.fixture
def other(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Other]:
    """Start a broker of `brokers_of_others`; its port."""
    started: list[subprocess.Popen[bytes]] = []
    pair = authority.server(BROKER_NAME)
    (tmp_path / "other.pem").write_text(pair.certificate)
    (tmp_path / "other.key").write_text(pair.key)
    (tmp_path / "other-ca.pem").write_text(authority.certificate)

    def begin(kind: str) -> int:
        port = free_port()
        program = Path(__file__).with_name("brokers_of_others.py")
        files = [tmp_path / name for name in ("other.pem", "other.key", "other-ca.pem")]
        command = [sys.executable, program, kind, str(port), *files]
        with (tmp_path / "other.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_for_port(port, tmp_path / "other.log")
        return port

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for_words(agent: RunningAgent, words: str, *, timeout_s: float = 30.0) -> str:
    end = time.monotonic() + timeout_s
    while words not in (text := agent.log.read_text()):
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return text


def test_a_broker_that_speaks_only_3_1_1_is_spoken_to_so(
    board: LinkedBoard, other: Other, tmp_path: Path, authority: CertificateAuthority, start: Start
) -> None:
    port = other("amqtt")
    collector = Collector(tmp_path, authority, port)
    try:
        board.report_to(port)
        agent = start(board).ready()
        collector.wait(lambda: any(one.high >= 10 for one in collector.streams.values()), "10 samples")
        assert all(stream.whole for stream in collector.streams.values())
        wait_for_words(agent, "MQTT 3.1.1")
    finally:
        collector.stop()


def test_while_a_broker_is_mute_the_board_serves_and_samples(
    board: LinkedBoard, other: Other, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(other("mute"))
    agent = start(board).ready()
    wait_for_words(agent, "it does not answer")
    assert agent.get("/v2/health/live")[0] == 200
    given = sum(board.given().values())
    assert given > 20

    board.report_to(broker.port)

    collector.wait(lambda: any(one.high >= given for one in collector.streams.values()), "what waited")
    assert all(stream.whole and not stream.gaps for stream in collector.streams.values())


def test_a_broker_of_another_authority_hears_nothing(
    board: LinkedBoard, tmp_path: Path, start: Start
) -> None:
    wrong = Broker(tmp_path / "wrong", CertificateAuthority(tmp_path / "wrong-keys")).start()
    try:
        board.report_to(wrong.port)
        agent = start(board).ready()
        assert "certificate verify failed" in wait_for_words(agent, "no connection to the broker")
    finally:
        wrong.kill()


def test_a_board_without_a_right_certificate_says_so_and_serves(
    board: LinkedBoard, broker: Broker, start: Start
) -> None:
    board.report_to(broker.port, certificate="no certificate")
    agent = start(board).ready()
    wait_for_words(agent, "no connection to the broker")
    assert agent.get("/v2/health/live")[0] == 200


def test_a_second_client_with_the_boards_name_is_said(
    board: LinkedBoard, broker: Broker, collector: Collector, tmp_path: Path, start: Start
) -> None:
    board.report_to(broker.port)
    agent = start(board).ready()
    collector.wait(lambda: bool(collector.streams), "the board")
    copy = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, DEVICE, protocol=mqtt.MQTTv5)
    (tmp_path / "copy.pem").write_text(board.certificate)
    context = ssl.create_default_context(cadata=board.authority.certificate)
    context.load_cert_chain(tmp_path / "copy.pem", board.root / "mqtt.key")
    context.check_hostname = False
    copy.tls_set_context(context)
    copy.connect("127.0.0.1", broker.port)
    copy.loop_start()
    try:
        wait_for_words(agent, "copy of this board's card")
    finally:
        copy.disconnect()
        copy.loop_stop()


def test_what_a_board_says_twice_in_a_row_does_not_wait_for_the_network(board: LinkedBoard) -> None:
    way = Way(
        "127.0.0.1", 0, BROKER_NAME, board.authority.certificate, board.certificate, board.root / "mqtt.key"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        socket.create_connection(there.getsockname()) as plain,
    ):
        assert not plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with _context(way).wrap_socket(plain, do_handshake_on_connect=False) as wrapped:
            assert wrapped.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
