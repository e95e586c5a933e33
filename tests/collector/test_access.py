"""The access list: what it allows, and that mosquitto understands it as it is meant."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract.errors import NameInvalid
from agent.contract.topics import FROM_DEVICE, WITH_ID, TopicKind, topic
from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector import mosquitto
from edge.collector.access import AccessList, asker
from edge.collector.broker import KIND_MOSQUITTO
from tests.collector.conftest import COLLECTOR, Client, folder_with

FLEET = "demo-abcdef"
CLIENT = "line-3"
LIST = AccessList(FLEET, COLLECTOR, (CLIENT,))
BOARDS = ("b-1", "b-2")
EVERYTHING = "c-everything"
"""A client that, in these tests alone, may all."""

_levels = st.sampled_from(
    ["edge", "v1", FLEET, "other-abcdef", "00", "3f", "", *BOARDS, COLLECTOR, "x", "y"]
    + [kind.value for kind in TopicKind]
)
_near = st.builds(
    lambda fleet, part, board, tail: "/".join(["edge", "v1", fleet, part, board, *tail]),
    st.sampled_from([FLEET, FLEET, FLEET, "other-abcdef"]),
    st.sampled_from(["00", "3f", "zz"]),
    st.sampled_from([*BOARDS, COLLECTOR]),
    st.lists(st.sampled_from([*(kind.value for kind in TopicKind), "x", CLIENT]), min_size=1, max_size=4),
)
topics = st.one_of(_near, st.lists(_levels, min_size=1, max_size=8).map("/".join).filter(bool))
identities = st.sampled_from([*BOARDS, COLLECTOR, CLIENT, "stranger"])


@pytest.mark.parametrize("kind", list(TopicKind))
def test_a_board_writes_what_comes_from_it_and_reads_what_goes_to_it(kind: TopicKind) -> None:
    own = topic(FLEET, "b-1", kind, "x" if kind in WITH_ID else None)
    assert LIST.may_publish("b-1", own) == (kind in FROM_DEVICE)
    assert LIST.may_receive("b-1", own) == (kind not in FROM_DEVICE)
    assert not LIST.may_publish("b-2", own)
    assert not LIST.may_receive("b-2", own)
    assert LIST.may_publish(COLLECTOR, own) == (kind not in FROM_DEVICE)
    assert LIST.may_receive(COLLECTOR, own)


@pytest.mark.parametrize("client", [CLIENT, asker(COLLECTOR)])
def test_a_client_asks_every_model_and_hears_answers_for_all_and_for_itself(client: str) -> None:
    infer, result = (topic(FLEET, "b-1", kind, "m") for kind in (TopicKind.INFER, TopicKind.RESULT))
    assert LIST.may_publish(client, infer)
    assert LIST.may_subscribe(client, result)
    assert LIST.may_subscribe(client, f"{result}/{client}/#")
    assert not LIST.may_receive(client, f"{result}/another/1")
    assert not LIST.may_receive(client, infer)
    assert not LIST.may_publish(client, result)
    for kind in set(TopicKind) - WITH_ID:
        assert not LIST.may_publish(client, topic(FLEET, "b-1", kind))
        assert not LIST.may_receive(client, topic(FLEET, "b-1", kind))
    assert not LIST.may_publish("b-2", infer)
    assert not AccessList(FLEET, COLLECTOR).may_publish(CLIENT, infer)


@pytest.mark.parametrize("name", ["b-1", "c-1", "ask-c-1", "+", "line/3"])
def test_no_client_is_called_like_a_board_or_a_collector(name: str) -> None:
    with pytest.raises(NameInvalid):
        AccessList(FLEET, COLLECTOR, (name,))


@pytest.mark.parametrize("name", ["+", "#", "", "b-1/x", "B-1", "b-1\n"])
def test_a_certificate_with_a_wild_name_opens_nothing(name: str) -> None:
    for kind in FROM_DEVICE - WITH_ID:
        assert not LIST.may_publish(name, topic(FLEET, "b-1", kind))
        assert not LIST.may_publish(name, f"edge/v1/{FLEET}/00/{name}/{kind.value}")


@given(identities, topics, st.lists(st.booleans(), min_size=8, max_size=8), st.integers(1, 8), st.booleans())
def test_a_filter_that_may_be_subscribed_lets_only_readable_topics_through(
    identity: str, said: str, wild: list[bool], cut: int, tail: bool
) -> None:
    levels = [("+" if hidden else level) for level, hidden in zip(said.split("/"), wild, strict=False)]
    filter = "/".join([*levels[:cut], "#"] if tail else levels)
    if LIST.may_subscribe(identity, filter):
        assert LIST.may_receive(identity, said)


@given(identities, topics)
def test_a_filter_without_wildcards_is_its_topic(identity: str, said: str) -> None:
    assert LIST.may_subscribe(identity, said) == LIST.may_receive(identity, said)


@pytest.fixture(scope="module")
def judge(
    tmp_path_factory: pytest.TempPathFactory,
    authority: CertificateAuthority,
    pairs: Callable[[str], tuple[Path, Path]],
) -> Iterator[Callable[[str, str], tuple[bool, bool]]]:
    """What a real mosquitto with the rendered list lets a client do with a topic: write, read."""
    if mosquitto.find() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("judge")
    fleet = folder_with(folder / "f", mqtt_broker=KIND_MOSQUITTO)
    started = brokers.start(fleet, COLLECTOR, authority)
    started.stop()
    files = fleet.telemetry / "broker"
    (files / mosquitto.ACCESS).write_text(LIST.render() + f"\nuser {EVERYTHING}\ntopic readwrite #\n")
    process = subprocess.Popen(
        [str(mosquitto.find()), "-c", str(files / mosquitto.CONFIGURATION)], stderr=subprocess.DEVNULL
    )
    broker = replace(started, child=None)
    assert brokers._answers(broker)
    clients = {
        name: Client(broker, pairs(name), protocol=mqtt.MQTTv5)
        for name in (*BOARDS, COLLECTOR, CLIENT, "stranger", EVERYTHING)
    }
    for client in clients.values():
        client.connected()
        client.subscribe("#")  # mosquitto lets everyone, and gives each what he may read
    numbers = itertools.count()
    yield lambda identity, said: ask(clients, identity, said, str(next(numbers)).encode())
    for client in clients.values():
        client.close()
    process.terminate()
    process.wait()


def ask(clients: dict[str, Client], identity: str, said: str, mark: bytes) -> tuple[bool, bool]:
    answer = str(clients[identity].publish(said, mark + b" written"))
    clients[EVERYTHING].publish(said, mark + b" read")
    # The last word comes behind what went before it, and everyone may read it
    last = f"edge/v1/{FLEET}/00/{identity}/ack"
    clients[EVERYTHING].publish(last, mark + b" end")
    heard = []
    while not heard or heard[-1] != mark + b" end":
        heard.append(clients[identity].hears()[1])
    return answer != "Not authorized", mark + b" read" in heard


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(identity=identities, said=topics)
def test_mosquitto_understands_the_list_as_it_is_meant(
    judge: Callable[[str, str], tuple[bool, bool]], identity: str, said: str
) -> None:
    assert judge(identity, said) == (LIST.may_publish(identity, said), LIST.may_receive(identity, said))


@pytest.mark.parametrize("topic", ["alerts/home", "homeassistant/device/edge-b-1/config"])
def test_only_the_collector_writes_alerts_and_what_home_assistant_reads(topic: str) -> None:
    found = AccessList("kitchen-abcdef", "c-0123456789abcdef")
    assert found.may_publish("c-0123456789abcdef", topic)
    assert not found.may_publish("b-0000000000000001", topic)
