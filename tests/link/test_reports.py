"""The board's signed report: published as it is, each new state told once."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from agent.contract.codec import encode
from agent.contract.messages import EventKind, EventMessage, HistoryEntry, Reported, Signed
from agent.contract.states import UpdateState
from agent.contract.topics import TopicKind
from tests.agent.conftest import RunningAgent
from tests.link.boards import DEVICE, LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import Collector
from tests.link.test_brokers import wait_for_words

Start = Callable[..., RunningAgent]


def report(
    board: LinkedBoard, counter: int, state: UpdateState, *, device: str = DEVICE, **more: str
) -> bytes:
    """Write a report as the update process does; its bytes."""
    entry = HistoryEntry(counter, f"digits@{counter}", state, 0)
    reported = Reported(DEVICE, counter, state, "nonce", 0, history=(entry,), **more)  # type: ignore[arg-type]
    # Blanks that no encoder of ours writes: published is what lies there.
    signed = json.dumps(
        {"payload": encode(reported).decode(), "device": device, "counter": counter, "signature": "00" * 64}
    ).encode()
    fresh = board.root / "state/.reported.json"
    fresh.write_bytes(signed)
    fresh.replace(board.root / "state/reported.json")
    return signed


def events(collector: Collector) -> list[EventMessage]:
    return [event for stream in collector.streams.values() for event in stream.events]


def test_a_report_is_published_as_it_is_and_its_state_is_told_once(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    board.report_to(broker.port)
    first = report(board, 1, UpdateState.CONFIRMED)
    agent = start(board).ready()
    collector.wait(lambda: collector.retained.get(TopicKind.REPORTED) == first, "the first report")

    second = report(board, 2, UpdateState.ROLLED_BACK, code="trial.too-slow", message="it is slow")
    collector.wait(lambda: collector.retained[TopicKind.REPORTED] == second, "the second report")
    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait()
    again = start(board).ready()
    collector.wait(lambda: len(collector.streams) == 2, "another boot")
    third = report(board, 2, UpdateState.ROLLED_BACK, code="trial.too-slow", message="the same again")
    collector.wait(lambda: collector.retained[TopicKind.REPORTED] == third, "the third report")
    collector.wait(lambda: all(one.whole for one in collector.streams.values()), "all")

    told = events(collector)
    assert [(event.kind, event.code) for event in told] == [
        (EventKind.UPDATE, "update.confirmed"),
        (EventKind.UPDATE, "trial.too-slow"),
    ]
    assert told[1].message == "it is slow"
    assert dict(told[1].facts) == {
        "state": "rolled-back", "counter": 2, "code": "trial.too-slow", "title": "digits@2",
    }  # fmt: skip
    assert again.stop() == 0


def test_a_report_of_another_device_is_not_published(
    board: LinkedBoard, broker: Broker, collector: Collector, start: Start
) -> None:
    report(board, 1, UpdateState.CONFIRMED, device="d-another")
    board.report_to(broker.port)
    agent = start(board).ready()
    wait_for_words(agent, "it speaks for `d-another`")
    collector.wait(lambda: bool(collector.streams), "samples")
    assert TopicKind.REPORTED not in collector.retained


def test_the_envelope_of_these_tests_is_one_of_the_contract(board: LinkedBoard) -> None:
    from agent.contract.codec import decode

    assert decode(Signed, report(board, 1, UpdateState.CONFIRMED)).device == DEVICE
