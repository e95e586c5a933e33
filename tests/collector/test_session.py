"""The collector's own connection, against both brokers."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.errors import BrokerFailed
from agent.contract.topics import TopicKind, subscription, topic
from edge.certificates import CertificateAuthority
from edge.collector.broker import KIND_EMBEDDED, Broker
from edge.collector.packets import Publish, Version
from edge.collector.session import Session, VersionRefused, open_session
from tests.collector.conftest import COLLECTOR, Meet

FLEET = "demo-abcdef"
BOARD = "b-0000000000000001"
FILTERS = [subscription(FLEET, kind) for kind in (TopicKind.TELEMETRY, TopicKind.STATE)]


@pytest.fixture
def session(broker: Broker) -> Iterator[Session]:
    with open_session(broker, COLLECTOR, FILTERS) as session:
        yield session


def told(kind: TopicKind, device: str = BOARD) -> str:
    return topic(FLEET, device, kind)


def heard(session: Session, count: int, *, within_s: float = 10.0) -> list[Publish]:
    found: list[Publish] = []
    until = time.monotonic() + within_s
    while len(found) < count and time.monotonic() < until:
        if session.pending or select.select([session], [], [], 0.1)[0]:
            found += session.read()
    return found


def test_it_speaks_the_newest_version_that_the_broker_does(broker: Broker, session: Session) -> None:
    wanted = Version.MQTT_311 if broker.kind == KIND_EMBEDDED else Version.MQTT_5
    assert session.version is wanted


def test_messages_come_whole_and_in_order_and_only_what_is_unacknowledged_waits(
    broker: Broker, session: Session, meet: Meet
) -> None:
    board = meet(BOARD)
    for number in range(50):
        board.publish(told(TopicKind.TELEMETRY), b"%d" % number + b"x" * number * 100)
    found = heard(session, 50)
    assert [message.payload.rstrip(b"x") for message in found] == [b"%d" % number for number in range(50)]
    assert all(message.packet_id for message in found)
    session.acknowledge(message.packet_id for message in found)
    session.flush()
    board.publish(told(TopicKind.TELEMETRY), b"next")
    assert [message.payload for message in heard(session, 1)] == [b"next"]


def test_an_acknowledgement_to_a_board_is_retained(broker: Broker, session: Session, meet: Meet) -> None:
    session.publish(told(TopicKind.ACK), b'{"seq":5}')
    session.flush()
    time.sleep(0.2)
    board = meet(BOARD)
    board.subscribe(told(TopicKind.ACK))
    assert board.hears() == (told(TopicKind.ACK), b'{"seq":5}')


def test_what_was_there_before_is_told_from_what_comes(broker: Broker, meet: Meet) -> None:
    board = meet("b-0000000000000002")
    board.publish(told(TopicKind.STATE, "b-0000000000000002"), b"old", retain=True)
    with open_session(broker, COLLECTOR, FILTERS) as session:
        (old,) = [message for message in heard(session, 1) if message.topic.endswith("2/state")]
        board.publish(told(TopicKind.STATE, "b-0000000000000002"), b"new", retain=True)
        (new,) = heard(session, 1)
    assert (old.payload, old.retained) == (b"old", True)
    assert (new.payload, new.retained) == (b"new", False)


def test_another_authority_is_not_trusted(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match="certificate"):
        open_session(replace(broker, ca_file=None), COLLECTOR, FILTERS)
    with pytest.raises(BrokerFailed, match="certificate"):
        open_session(replace(broker, server_name="another"), COLLECTOR, FILTERS)


def test_a_broker_that_goes_away_is_noticed(broker: Broker, session: Session) -> None:
    session._link._link.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BrokerFailed):
        heard(session, 1)


def test_a_broker_that_says_nothing_is_given_up_version_by_version(
    broker: Broker, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """It takes connections and shows the right certificate, and then is silent."""
    pair = authority.server(broker.server_name or "localhost")
    (tmp_path / "server.pem").write_text(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        held: list[socket.socket] = []

        def take() -> None:
            link, _ = plain.accept()
            held.append(context.wrap_socket(link, server_side=True))

        threading.Thread(target=take, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(VersionRefused):
            Session(replace(broker, port=plain.getsockname()[1]), COLLECTOR, FILTERS, Version.MQTT_5)
        assert 2.5 < time.monotonic() - began < 6
        held[0].close()
