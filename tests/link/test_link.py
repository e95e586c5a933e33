"""The link as a whole: an agent's process, a real broker with TLS, and a collector."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from agent.config import BoardFolder, read_config
from agent.contract.codec import decode
from agent.contract.messages import Birth, Presence, PresenceMessage, Telemetry, supersedes
from agent.contract.topics import TopicKind
from agent.link.link import END_S, Link
from agent.link.subject import Subject
from agent.link.window import FIRST_CREDIT
from agent.system import BoardReader, cpu_seconds
from tests.agent.conftest import RunningAgent
from tests.link.boards import LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import Collector
from tests.link.test_brokers import wait_for_words

Start = Callable[..., RunningAgent]


def presence(collector: Collector) -> Presence | None:
    found = collector.retained.get(TopicKind.STATE)
    return decode(PresenceMessage, found).presence if found else None


def rows(collector: Collector) -> int:
    return sum(len(stream.samples) for stream in collector.streams.values())


def test_what_a_board_samples_arrives_once(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    board.report_to(broker.port)
    agent = start(board).ready()

    collector.wait(lambda: rows(collector) >= 50, "50 samples")

    said = decode(Birth, collector.retained[TopicKind.BIRTH])
    assert (said.device, said.connection, said.models[0].release) == ("d-0123456789", 1, "digits@1")
    assert said.fields["board.memory_used_bytes"] == "B"
    assert presence(collector) is Presence.ONLINE
    assert all(stream.whole for stream in collector.streams.values())
    telemetry = decode(
        Telemetry, next(data for kind, data in collector.messages if kind is TopicKind.TELEMETRY)
    )
    assert telemetry.samples[0].models[0].name == "digits"
    assert telemetry.sent_monotonic is not None
    assert agent.stop() == 0
    collector.wait(lambda: presence(collector) is Presence.OFFLINE, "a goodbye")


@pytest.mark.bed
def test_killed_agents_and_brokers_lose_and_repeat_nothing(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port, interval_s=0.002)
    for _ in range(3):
        agent = start(board).ready()
        before = rows(collector)
        collector.wait(lambda before=before: rows(collector) >= before + 100, "100 samples")
        broker.kill()
        time.sleep(0.3)
        broker.start()
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait()
    board.report_to(broker.port, interval_s=3600)
    start(board).ready()
    given = board.given()

    collector.wait(
        lambda: all(
            (seen := collector.streams.get(boot)) is not None and seen.high >= number
            for boot, number in given.items()
        ),
        f"all of {given}",
    )
    assert all(stream.whole and not stream.gaps for stream in collector.streams.values())


def test_a_late_will_does_not_make_a_living_board_lost(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port)
    first = start(board).ready()
    collector.wait(lambda: presence(collector) is Presence.ONLINE, "the first birth")
    born = decode(Birth, collector.retained[TopicKind.BIRTH])
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    collector.wait(lambda: presence(collector) is Presence.LOST, "the will")
    will = decode(PresenceMessage, collector.retained[TopicKind.STATE])
    start(board).ready()
    collector.wait(lambda: presence(collector) is Presence.ONLINE, "the second birth")
    again = decode(Birth, collector.retained[TopicKind.BIRTH])

    assert supersedes(born.boot, born.connection, will)
    assert not supersedes(again.boot, again.connection, will)


def test_a_will_of_an_earlier_connection_is_older_than_the_next_birth(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port)
    start(board).ready()
    collector.wait(lambda: presence(collector) is Presence.ONLINE, "a birth")
    broker.kill()
    broker.start()
    collector.retained.clear()
    collector.wait(lambda: TopicKind.BIRTH in collector.retained, "the next birth")
    again = decode(Birth, collector.retained[TopicKind.BIRTH])

    assert again.connection >= 2
    assert not supersedes(
        again.boot, again.connection, PresenceMessage(again.device, again.boot, 1, Presence.LOST)
    )


def test_a_small_outbox_states_exactly_what_it_dropped(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    collector.answers = False
    board.report_to(broker.port, interval_s=0.002, outbox_bytes=64 * 1024)
    start(board).ready()
    collector.wait(lambda: any(number > 500 for number in board.given().values()), "a full outbox")
    board.report_to(broker.port, interval_s=3600, outbox_bytes=64 * 1024)
    time.sleep(1.0)
    [(boot, given)] = board.given().items()

    collector.answers = True

    collector.wait(lambda: boot in collector.streams and collector.streams[boot].high == given, "all")
    stream = collector.streams[boot]
    assert stream.whole
    assert len(stream.gaps) > given / 2


def test_no_more_is_on_its_way_than_the_collector_lets(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    collector.answers = False
    board.report_to(broker.port, interval_s=0.005)
    start(board).ready()

    def sent() -> int:
        return sum(kind is TopicKind.TELEMETRY for kind, _ in collector.messages)

    collector.wait(lambda: sent() >= FIRST_CREDIT, "all that may be on its way")
    time.sleep(0.3)  # ten times what the sixteen took; sent again it is after two seconds
    assert sent() == FIRST_CREDIT

    collector.answers = True

    collector.wait(lambda: any(one.high > 300 for one in collector.streams.values()), "what waited")
    assert all(stream.whole and not stream.gaps for stream in collector.streams.values())


def test_a_swap_by_exec_ends_the_connection_in_order_and_loses_nothing(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port, interval_s=0.005)
    agent = start(board).ready()
    collector.wait(lambda: rows(collector) > 50, "samples")
    boot = board.running()["boot"]

    agent.process.send_signal(signal.SIGHUP)

    fresh = agent.wait_until(lambda said: said["boot"] != boot and said["ready"])["boot"]
    collector.wait(lambda: fresh in collector.streams and collector.streams[fresh].high > 20, "the next boot")
    assert collector.streams[boot].high == board.given()[boot]
    assert all(stream.whole and not stream.gaps for stream in collector.streams.values())
    said = [decode(PresenceMessage, data) for kind, data in collector.messages if kind is TopicKind.STATE]
    assert [one.presence for one in said] == [Presence.ONLINE, Presence.OFFLINE, Presence.ONLINE]


def test_a_broker_that_hangs_does_not_keep_the_agent_from_its_end(
    board: LinkedBoard, broker: Broker, collector: Collector
) -> None:
    folder = BoardFolder(board.root)
    board.report_to(broker.port)
    subject = Subject(folder, read_config(folder), "ab" * 8, BoardReader(board.root), list, list, print)
    link = Link(subject)
    link.start()
    collector.wait(lambda: rows(collector) > 0, "samples")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    link.end()
    link.wait()
    took_s = time.monotonic() - began
    broker.process.send_signal(signal.SIGCONT)

    assert took_s < END_S + 0.3


def test_an_outbox_that_can_not_be_used_is_said_once_and_serving_goes_on(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    in_the_way = board.root / "outbox/outbox.sqlite"
    in_the_way.mkdir()
    board.report_to(broker.port)
    agent = start(board).ready()
    wait_for_words(agent, "outbox.sqlite` can't be used")
    time.sleep(2.5)
    assert agent.log.read_text().count("can't be used") == 1
    assert agent.get("/v2/health/live")[0] == 200
    assert agent.get("/metrics")[0] == 200

    in_the_way.rmdir()

    collector.wait(lambda: rows(collector) > 0, "samples")
    [stream] = collector.streams.values()
    assert stream.whole
    assert stream.gaps >= {1}
    wait_for_words(agent, "the outbox works again")


def test_while_an_outbox_can_not_be_read_the_agent_does_not_spin(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    collector.answers = False
    board.report_to(broker.port, interval_s=0.05)
    agent = start(board).ready()
    collector.wait(lambda: any(number > 20 for number in board.given().values()), "items that wait")
    with closing(sqlite3.connect(board.root / "outbox/outbox.sqlite", isolation_level=None)) as file:
        file.execute("ALTER TABLE items RENAME TO others")
        wait_for_words(agent, "can't be used")
        used = cpu_seconds(agent.process.pid)
        time.sleep(1.5)
        assert cpu_seconds(agent.process.pid) - used < 0.5
        file.execute("ALTER TABLE others RENAME TO items")
    collector.answers = True

    collector.wait(lambda: rows(collector) > 20, "what waited")
    collector.wait(lambda: all(one.whole for one in collector.streams.values()), "all")
