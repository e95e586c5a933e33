"""A question to a board's model through the fleet's broker, as any client asks it.

The rule: the collector is not in between, and is not put out: commands have a name of their own at the broker, one at a
time. What is lost on the way is asked again, under the same topic, so that one answer is enough.
"""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.contract.codec import MAX_DOCUMENT_BYTES
from agent.contract.errors import AgentSilent, BrokerFailed, RequestInvalid
from agent.contract.topics import TopicKind, topic
from edge.collector import client, records
from edge.collector.access import asker
from edge.collector.broker import START_S, Broker, for_commands
from edge.collector.session import Session
from edge.config import FleetFolder, lock
from edge.ports import HERE

ANSWER_S = 30.0
AGAIN_S = 5.0
POLL_S = 0.05
LOCK = "asking.lock"


@dataclass(frozen=True)
class Line:
    """An open connection for questions to one model.

    Attributes:
        session: that hears the answers.
        question, answer: beginnings of topics; what one of them goes on with, the other does, too.
    """

    session: Session
    question: str
    answer: str


@contextmanager
def line(fleet: FleetFolder, device: str, model: str) -> Iterator[Line]:
    """Be connected as the fleet folder's commands are: one at a time.

    Raises:
        FleetFolderBusy: another command asks.
        BrokerFailed, CollectorFailed, CollectorHung: the broker is not there.
    """
    broker = _broker(fleet)
    ours = asker(records.enrolled_id(fleet))
    behind = f"/{ours}/{secrets.token_hex(8)}"
    question = topic(fleet.config.fleet, device, TopicKind.INFER, model) + behind
    answer = topic(fleet.config.fleet, device, TopicKind.RESULT, model) + behind
    held = lock(fleet.telemetry, wait_s=ANSWER_S, file=LOCK)
    with held, Session(broker, ours, [f"{answer}/#"]) as session:
        yield Line(session, question, answer)


def ask(fleet: FleetFolder, device: str, model: str, payload: bytes, *, name: str) -> bytes:
    """What a board's model answers.

    Args:
        fleet: whose broker.
        device: the board's id.
        model: its name.
        payload: a request as the agent takes it: JSON of one of its protocols, a picture, an array.
        name: of the board, for errors.

    Raises:
        RequestInvalid: the broker carries nothing so long.
        AgentSilent: no answer came.
        BrokerFailed, CollectorFailed, CollectorHung: the broker is not there.
    """
    check_length(payload)
    with line(fleet, device, model) as to_board:
        end = time.monotonic() + ANSWER_S
        while (now := time.monotonic()) < end:
            to_board.session.publish(to_board.question, payload, retained=False)
            to_board.session.flush()
            found = _heard(to_board.session, min(now + AGAIN_S, end))
            if found is not None:
                return found
    raise AgentSilent(device=name, reason=f"no answer came over MQTT in {ANSWER_S:.0f} s")


def check_length(payload: bytes) -> None:
    """Raise RequestInvalid for a question that the broker does not carry."""
    if len(payload) > MAX_DOCUMENT_BYTES:
        raise RequestInvalid(reason=f"MQTT carries at most {MAX_DOCUMENT_BYTES} bytes, found {len(payload)}")


def _heard(session: Session, until: float) -> bytes | None:
    """The first message that comes, or None."""
    ready = select.poll()
    ready.register(session, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if session.pending or ready.poll(left * 1000):
            for message in session.read():
                session.acknowledge([message.packet_id])
                session.flush()
                return message.payload
    return None


def _broker(fleet: FleetFolder) -> Broker:
    """The one that the folder's collector uses; the collector is started where there is none."""
    client.ensure(fleet)
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        running = records.read_running(fleet)
        if running is not None and running.broker_port is not None:
            return for_commands(fleet, running.broker_port)
        time.sleep(POLL_S)
    raise BrokerFailed(address=HERE, reason="the collector has started none")
