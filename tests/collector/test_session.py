"""The collector's own connection, against both brokers, and against one that says what the test wants."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract.errors import BrokerFailed
from agent.contract.topics import TopicKind, subscription, topic
from edge.certificates import CertificateAuthority
from edge.collector import session as sessions
from edge.collector.broker import KIND_MOSQUITTO, KIND_OWN, Broker
from edge.collector.session import Message, Session
from tests.collector.conftest import COLLECTOR, Meet

FLEET = "demo-abcdef"
BOARD = "b-0000000000000001"
FILTERS = [subscription(FLEET, kind) for kind in (TopicKind.TELEMETRY, TopicKind.STATE)]


@pytest.fixture
def session(broker: Broker) -> Iterator[Session]:
    with Session(broker, COLLECTOR, FILTERS) as session:
        yield session


def told(kind: TopicKind, device: str = BOARD) -> str:
    return topic(FLEET, device, kind)


def heard(session: Session, count: int, *, within_s: float = 10.0) -> list[Message]:
    found: list[Message] = []
    until = time.monotonic() + within_s
    while len(found) < count and time.monotonic() < until:
        if session.pending or select.select([session], [], [], 0.1)[0]:
            found += session.read()
    return found


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
    with Session(broker, COLLECTOR, FILTERS) as session:
        (old,) = [message for message in heard(session, 1) if message.topic.endswith("2/state")]
        board.publish(told(TopicKind.STATE, "b-0000000000000002"), b"new", retain=True)
        (new,) = heard(session, 1)
    assert (old.payload, old.retained) == (b"old", True)
    assert (new.payload, new.retained) == (b"new", False)


def test_another_authority_is_not_trusted(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match="certificate"):
        Session(replace(broker, ca_file=None), COLLECTOR, FILTERS)
    with pytest.raises(BrokerFailed, match="certificate"):
        Session(replace(broker, server_name="another"), COLLECTOR, FILTERS)


def test_what_no_poll_sees_is_pending(broker: Broker, meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_BYTES", 1000)
    board = meet(BOARD)
    with Session(broker, COLLECTOR, FILTERS) as session:
        heard(session, 1, within_s=0.2)  # what another test left there
        for number in range(30):
            board.publish(told(TopicKind.TELEMETRY), b"%d" % number + b"x" * 500)
        assert len(heard(session, 30)) == 30


# The embedded one forgets what it was told just before a goodbye
@pytest.mark.parametrize("broker", [KIND_MOSQUITTO, KIND_OWN], indirect=True)
def test_a_session_that_ends_loses_nothing_that_it_was_told_to_say(broker: Broker, meet: Meet) -> None:
    board = meet(BOARD)
    board.subscribe(told(TopicKind.ACK))
    with Session(broker, COLLECTOR, FILTERS) as session:
        session.publish(told(TopicKind.ACK), b'{"seq":6}')
    while board.hears() != (told(TopicKind.ACK), b'{"seq":6}'):
        pass  # an older one


WELCOME = b"\x20\x02\x00\x00"
GRANTED = b"\x90\x04\x00\x01\x01\x01"


class Stage:
    """It takes connections and shows the right certificate; after each packet that it is sent, it says the next line.

    After the last line it says nothing any more, and holds the connection, or ends it.
    """

    def __init__(self, authority: CertificateAuthority, client: tuple[Path, Path], folder: Path) -> None:
        pair = authority.server("localhost")
        (folder / "ca.pem").write_text(authority.certificate)
        (folder / "server.pem").write_text(pair.certificate + pair.key)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(folder / "server.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.broker = Broker(
            kind=KIND_OWN,
            host="127.0.0.1",
            port=self._listener.getsockname()[1],
            server_name="localhost",
            ca=authority.certificate,
            ca_file=folder / "ca.pem",
            certificate_file=client[0],
            key_file=client[1],
        )

    def plays(self, *lines: bytes, hold: bool = True) -> Broker:
        """For the next connection; where it is to be found."""
        threading.Thread(target=self._play, args=(lines, hold), daemon=True).start()
        return self.broker

    def _play(self, lines: Sequence[bytes], hold: bool) -> None:
        with contextlib.suppress(OSError):  # the session has ended
            link = self._context.wrap_socket(self._listener.accept()[0], server_side=True)
            self._held.append(link)
            for line in lines:
                link.recv(4096)
                link.sendall(line)
            if not hold:
                link.close()

    def close(self) -> None:
        for link in (*self._held, self._listener):
            link.close()


@pytest.fixture
def stage(
    authority: CertificateAuthority, pairs: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> Iterator[Stage]:
    stage = Stage(authority, pairs(COLLECTOR), tmp_path)
    yield stage
    stage.close()


def published(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH that wants an acknowledgement, of less than 128 bytes."""
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    return bytes([0x32, len(body)]) + body


def go_on(session: Session, turns: int, *, pause_s: float = 0.1) -> None:
    for _ in range(turns):
        session.read()
        session.tick()
        time.sleep(pause_s)


def test_a_broker_that_says_nothing_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWER_S", 0.3)
    for lines in ((), (WELCOME,)):
        with pytest.raises(BrokerFailed, match="does not answer"):
            Session(stage.plays(*lines), COLLECTOR, FILTERS)


def test_a_broker_that_refuses_is_quoted(stage: Stage) -> None:
    with pytest.raises(BrokerFailed, match="it refuses: Not authorized"):
        Session(stage.plays(b"\x20\x02\x00\x05"), COLLECTOR, FILTERS)
    with pytest.raises(BrokerFailed, match=FILTERS[1].replace("+", r"\+")):
        Session(stage.plays(WELCOME, b"\x90\x04\x00\x01\x01\x80"), COLLECTOR, FILTERS)


def test_a_broker_that_goes_away_is_noticed_after_its_last_message(stage: Stage) -> None:
    last = published(b"a/b", b"last", 7)
    with Session(stage.plays(WELCOME, GRANTED + last, hold=False), COLLECTOR, FILTERS) as session:
        assert heard(session, 1) == [Message("a/b", b"last", 7, False)]
        with pytest.raises(BrokerFailed, match="the connection was lost"):
            heard(session, 1)


def test_a_broker_that_forgets_us_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "KEEPALIVE_S", 1)
    with (
        Session(stage.plays(WELCOME, GRANTED), COLLECTOR, FILTERS) as session,
        pytest.raises(BrokerFailed, match="did not answer for 1 s"),
    ):
        go_on(session, 50)


def test_a_topic_that_is_no_utf_8_is_empty(stage: Stage) -> None:
    bad, good = published(b"a/\xff", b"1", 7), published(b"a/b", b"2", 8)
    with Session(stage.plays(WELCOME, GRANTED + bad + good), COLLECTOR, FILTERS) as session:
        assert [message.topic for message in heard(session, 2)] == ["", "a/b"]


@given(said=st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from([WELCOME, GRANTED]), max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_broker_says_is_messages_or_an_error_of_ours(stage: Stage, said: list[bytes]) -> None:
    with (
        contextlib.suppress(BrokerFailed),
        Session(stage.plays(b"".join(said), hold=False), COLLECTOR, FILTERS) as session,
    ):
        go_on(session, 3, pause_s=0.002)
