"""Acknowledgements, made fast: thousands a second.

The law: `ack_bytes(...) == agent.contract.codec.encode(Ack(...))`.
"""

from __future__ import annotations

import orjson

from agent.contract.messages import MESSAGE_SCHEMA

CREDIT = 16
"""How many messages a board may send that are not acknowledged yet."""


def ack_bytes(device: str, collector: str, boot: str, seq: int, *, credit: int = CREDIT) -> bytes:
    """An `Ack`, as it is published."""
    return orjson.dumps(
        {
            "boot": boot,
            "collector": collector,
            "credit": credit,
            "device": device,
            "schema": MESSAGE_SCHEMA,
            "seq": seq,
        }
    )
