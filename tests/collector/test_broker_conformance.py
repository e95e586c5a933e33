"""What every broker here must do: the same tests on mosquitto and on the embedded one."""

from __future__ import annotations

import queue
import socket
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from agent.contract.topics import TopicKind, subscription, topic
from edge.certificates import CertificateAuthority
from edge.collector.broker import KIND_EMBEDDED, KIND_OWN, Broker
from tests.collector.conftest import COLLECTOR, Client, Meet

FLEET = "demo-abcdef"
QUIET_S = 0.3

Pairs = Callable[[str], tuple[Path, Path]]


def of(board: str, kind: TopicKind, id: str | None = None) -> str:
    return topic(FLEET, board, kind, id)


def silent(client: Client) -> bool:
    try:
        client.hears(QUIET_S)
    except queue.Empty:
        return True
    return False


def shut_out(broker: Broker, pair: tuple[Path, Path] | None) -> bool:
    """Whether a TLS connection with this certificate is ended before a CONNECT is answered."""
    context = ssl.create_default_context(cafile=broker.ca_file)
    if pair is not None:
        context.load_cert_chain(*pair)
    connect = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02hi"
    try:
        with (
            socket.create_connection((broker.host, broker.port), 5) as link,
            context.wrap_socket(link, server_hostname=broker.server_name) as tls,
        ):
            tls.sendall(connect)
            return tls.recv(4) == b""
    except OSError:
        return True


def test_the_test_that_shuts_out_lets_a_board_in(broker: Broker, pairs: Pairs) -> None:
    assert not shut_out(broker, pairs("b-1"))


def test_without_a_certificate_nobody_gets_in(broker: Broker) -> None:
    assert shut_out(broker, None)


def test_a_certificate_of_another_authority_opens_nothing(broker: Broker, tmp_path: Path) -> None:
    made = CertificateAuthority(tmp_path / "other").client("b-1")
    files = tmp_path / "c.pem", tmp_path / "c.key"
    files[0].write_text(made.certificate)
    files[1].write_text(made.key)
    assert shut_out(broker, files)


def test_a_servers_certificate_is_no_clients(
    broker: Broker, authority: CertificateAuthority, tmp_path: Path
) -> None:
    made = authority.server("b-1")
    files = tmp_path / "s.pem", tmp_path / "s.key"
    files[0].write_text(made.certificate)
    files[1].write_text(made.key)
    assert shut_out(broker, files)


def test_it_shows_the_name_that_links_ask_for(broker: Broker, pairs: Pairs) -> None:
    context = ssl.create_default_context(cafile=broker.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons ask by themselves
    context.load_cert_chain(*pairs("b-1"))
    link = socket.create_connection((broker.host, broker.port), 5)
    with context.wrap_socket(
        link, server_hostname="localhost" if broker.kind == KIND_OWN else "edge-broker"
    ) as tls:
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_what_a_board_says_reaches_the_collector_in_order(meet: Meet) -> None:
    collector = meet(COLLECTOR)
    collector.subscribe(subscription(FLEET, TopicKind.TELEMETRY))
    board = meet("b-1")
    for number in range(50):
        board.client.publish(of("b-1", TopicKind.TELEMETRY), str(number), 1)
    heard = [collector.hears() for _ in range(50)]
    assert heard == [(of("b-1", TopicKind.TELEMETRY), str(number).encode()) for number in range(50)]


@pytest.mark.parametrize("kind", [TopicKind.TELEMETRY, TopicKind.STATE, TopicKind.BIRTH, TopicKind.ACK])
def test_one_board_cannot_speak_for_another(meet: Meet, kind: TopicKind) -> None:
    collector = meet(COLLECTOR)
    collector.subscribe(subscription(FLEET, kind))
    while not silent(collector):
        pass  # what other tests retained
    liar = meet("b-2")
    liar.publish(of("b-1", kind), b"forged", retain=True)
    assert silent(collector)


def test_one_board_hears_neither_the_live_nor_the_retained_acks_of_another(meet: Meet) -> None:
    collector, owner, nosy = meet(COLLECTOR), meet("b-1"), meet("b-2")
    ack = of("b-1", TopicKind.ACK)
    owner.subscribe(ack)
    for filter in (ack, subscription(FLEET, TopicKind.ACK), f"edge/v1/{FLEET}/#", "#"):
        nosy.subscribe(filter)
    collector.publish(ack, b"live", retain=True)
    assert owner.hears() == (ack, b"live")
    assert silent(nosy)
    assert silent(meet("b-3"))  # one that only connects is not told what others subscribed to


def test_a_board_hears_its_own_retained_ack_when_it_comes_back(meet: Meet) -> None:
    ack = of("b-4", TopicKind.ACK)
    meet(COLLECTOR).publish(ack, b"up to 7", retain=True)
    board = meet("b-4")
    board.subscribe(ack)
    assert board.hears() == (ack, b"up to 7")


def test_commands_reach_their_board_alone(meet: Meet) -> None:
    collector, board, other = meet(COLLECTOR), meet("b-1"), meet("b-2")
    for client, name in ((board, "b-1"), (other, "b-2")):
        client.subscribe(f"{of(name, TopicKind.COMMAND, 'x').rpartition('/')[0]}/#")
    command = of("b-1", TopicKind.COMMAND, "restart")
    collector.publish(command, b"now")
    assert board.hears() == (command, b"now")
    assert silent(other)


def test_the_will_of_a_board_that_is_gone_is_heard(meet: Meet) -> None:
    collector = meet(COLLECTOR)
    state = of("b-5", TopicKind.STATE)
    collector.subscribe(state)
    meet("b-5", will=(state, b"lost", 1, False)).drop()
    assert collector.hears() == (state, b"lost")


def test_the_will_of_a_board_that_falls_silent_is_heard(meet: Meet) -> None:
    collector = meet(COLLECTOR)
    state = of("b-6", TopicKind.STATE)
    collector.subscribe(state)
    meet("b-6", will=(state, b"lost", 1, False), keepalive=1).client.loop_stop()
    began = time.monotonic()
    assert collector.hears() == (state, b"lost")
    assert time.monotonic() - began < 9


def test_a_will_in_anothers_name_is_never_heard(meet: Meet) -> None:
    collector = meet(COLLECTOR)
    collector.subscribe(of("b-1", TopicKind.STATE))
    meet("b-2", will=(of("b-1", TopicKind.STATE), b"lost", 1, True), answer=False).drop()
    assert silent(collector)


def test_a_client_id_that_is_taken_takes_nothing_over(meet: Meet) -> None:
    collector = meet(COLLECTOR)
    owner = meet("b-1", client_id="b-1")
    owner.subscribe(of("b-1", TopicKind.ACK))
    owner.hears()  # what an earlier test retained
    thief = meet("b-2", client_id="b-1")
    collector.publish(of("b-1", TopicKind.ACK), b"mine")
    assert owner.hears() == (of("b-1", TopicKind.ACK), b"mine")
    assert silent(thief)


def test_the_same_board_again_takes_its_own_place(meet: Meet) -> None:
    first = meet("b-7")
    second = meet("b-7")
    deadline = time.monotonic() + 5
    while first.client.is_connected() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not first.client.is_connected()
    assert second.client.is_connected()


@pytest.mark.parametrize("leave", [Client.drop, Client.close, lambda client: None])
def test_a_collector_that_acknowledged_nothing_comes_back_and_hears_it_all_again(
    meet: Meet, leave: Callable[[Client], None]
) -> None:
    """As one that is killed before its commit; and as one whose old connection the broker still holds."""
    births = subscription(FLEET, TopicKind.BIRTH)
    for name in ("b-8", "b-9"):
        meet(name).publish(of(name, TopicKind.BIRTH), b"born", retain=True)
    first = meet(COLLECTOR, manual_ack=True)
    first.subscribe(births)
    assert {first.hears()[0] for _ in range(2)} == {of(name, TopicKind.BIRTH) for name in ("b-8", "b-9")}
    meet("b-8").publish(of("b-8", TopicKind.BIRTH), b"again", retain=True)
    leave(first)
    second = meet(COLLECTOR)
    second.subscribe(births)
    assert {second.hears() for _ in range(2)} == {
        (of("b-8", TopicKind.BIRTH), b"again"),
        (of("b-9", TopicKind.BIRTH), b"born"),
    }


def test_a_message_that_is_too_long_ends_its_sender_alone(meet: Meet) -> None:
    collector, board, other = meet(COLLECTOR), meet("b-1"), meet("b-2")
    collector.subscribe(subscription(FLEET, TopicKind.EVENT))
    board.publish(of("b-1", TopicKind.EVENT), b"x" * (5 << 20))
    other.publish(of("b-2", TopicKind.EVENT), b"still here")
    assert collector.hears() == (of("b-2", TopicKind.EVENT), b"still here")


def test_a_message_of_a_megabyte_passes(meet: Meet) -> None:
    collector, board = meet(COLLECTOR), meet("b-1")
    collector.subscribe(subscription(FLEET, TopicKind.EVENT))
    board.publish(of("b-1", TopicKind.EVENT), b"x" * (1 << 20))
    assert len(collector.hears()[1]) == 1 << 20


def test_mqtt_5_is_spoken_or_refused_at_once(broker: Broker, meet: Meet) -> None:
    began = time.monotonic()
    answer = str(meet("b-1", protocol=mqtt.MQTTv5, answer=False).connected())
    assert time.monotonic() - began < 1
    assert answer == ("Unsupported protocol version" if broker.kind == KIND_EMBEDDED else "Success")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x0a\x00\x04MQTT\x04\x02\x00\x3c",
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x40hi",
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04\xff\xfe\xfd\xfc",
        b"\x30\x03\x00\x01a",
        struct.pack("!B", 0x10),
    ],
)
def test_what_is_no_mqtt_ends_one_connection(broker: Broker, pairs: Pairs, meet: Meet, said: bytes) -> None:
    context = ssl.create_default_context(cafile=broker.ca_file)
    context.load_cert_chain(*pairs("b-1"))
    link = socket.create_connection((broker.host, broker.port), 5)
    with context.wrap_socket(link, server_hostname=broker.server_name) as tls:
        tls.sendall(said)
    assert broker.alive()
    meet("b-2")
