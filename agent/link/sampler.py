"""Samples and events as bytes, and messages joined from them.

The rule: each is encoded once, when it happens; what lies in the outbox is never decoded again. Its number is put in
front when it is sent, so that the outbox alone gives numbers. What is written here reads as the contract's `Telemetry`
and `EventMessage`; a test holds the two together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agent.contract.messages import MESSAGE_SCHEMA, EventKind
from agent.link.outbox import Pending
from agent.system import BoardReader


def sample(board: BoardReader, models: Sequence[Mapping[str, Any]]) -> bytes:
    """What the board measures now: a `Sample` without its number.

    Args:
        board: reads the board's counters.
        models: each model's `ModelCounters` in plain values.
    """
    return orjson.dumps(
        {"wall": time.time(), "monotonic": time.monotonic(), "board": board.plain(), "models": models}
    )


def event(kind: EventKind, code: str, message: str, facts: Mapping[str, Any]) -> bytes:
    """What an `EventMessage` tells, without its number and the stream that it belongs to."""
    return orjson.dumps(
        {
            "wall": time.time(),
            "monotonic": time.monotonic(),
            "kind": kind.value,
            "code": code,
            "message": message,
            "facts": facts,
        }
    )


def message(pending: Pending, *, device: str, clock_synchronised: bool) -> bytes:
    """The bytes of a `Telemetry` or an `EventMessage`."""
    head: dict[str, Any] = {
        "device": device,
        "boot": pending.boot,
        "gaps": [{"first": gap.first, "last": gap.last} for gap in pending.gaps],
        "clock_synchronised": clock_synchronised,
        "acknowledged": pending.acknowledged,
        "schema": MESSAGE_SCHEMA,
    }
    if pending.same_os_boot:
        head["sent_monotonic"] = time.monotonic()
    begin = orjson.dumps(head)[:-1]
    items = [b'{"seq":%d,' % seq + body[1:] for seq, body in pending.items]
    if pending.event:
        return begin + b"," + items[0][1:]
    return begin + b',"samples":[' + b",".join(items) + b"]}"
