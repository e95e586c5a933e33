"""The link as a whole: an agent's process, a real broker with TLS, and a collector."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from agent.contract.codec import decode
from agent.contract.messages import Birth, Presence, PresenceMessage, Telemetry
from agent.contract.topics import TopicKind
from tests.agent.conftest import RunningAgent
from tests.link.boards import LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import Collector

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
