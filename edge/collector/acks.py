"""Acknowledgements to boards, made fast: thousands a second.

The law: `Acks.message(...)` is the topic that the contract has for it, and `agent.contract.codec.encode(Ack(...))`.
"""

from __future__ import annotations

import orjson

from agent.contract.messages import MESSAGE_SCHEMA
from agent.contract.topics import TopicKind, topic
from edge.telemetry.ingest import StreamAck

CREDIT = 16
"""How many messages a board may send that are not acknowledged yet."""
TOPICS_KEPT = 100_000


class Acks:
    """The acknowledgements of one collector."""

    def __init__(self, fleet: str, collector: str) -> None:
        self._fleet = fleet
        self._collector = collector
        self._topics: dict[str, str] = {}

    def message(self, ack: StreamAck) -> tuple[str, bytes]:
        """Topic and payload."""
        where = self._topics.get(ack.device)
        if where is None:
            if len(self._topics) >= TOPICS_KEPT:
                self._topics.clear()
            where = self._topics[ack.device] = topic(self._fleet, ack.device, TopicKind.ACK)
        what = {
            "boot": ack.boot,
            "collector": self._collector,
            "credit": CREDIT,
            "device": ack.device,
            "schema": MESSAGE_SCHEMA,
            "seq": ack.seq,
        }
        return where, orjson.dumps(what)
