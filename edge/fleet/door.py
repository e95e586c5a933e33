"""A board's door: its document on the board, read and written over SSH.

The rule: the board's key never leaves it, and a token is never on it: what is written is a certificate for that key,
and a token's SHA-256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from agent.contract.codec import decode, encode
from agent.contract.door import DoorConfig
from agent.contract.errors import EdgeError, LinkNotReady
from edge.fleet.connection import Board
from edge.fleet.onboard import script

PUBLIC_KEY_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class DoorFound:
    """What lies on the board. `config`: None where the door is shut, or its document is none. `public_key`: PEM."""

    config: DoorConfig | None
    public_key: str


def read_door(board: Board, root: str) -> DoorFound:
    """The door's document, and the board's key.

    Raises:
        LinkNotReady: the board has no key or no place for it.
    """
    found = board.python(script("document"), {"root": root, "kind": "door"}, doing="reading its door")
    if not found["public_key"] or not found["folder"]:
        raise LinkNotReady(device=board.name)
    try:
        config = decode(DoorConfig, (found["document"] or "").encode())
    except EdgeError:
        config = None
    return DoorFound(config=config, public_key=found["public_key"][:PUBLIC_KEY_BYTES])


def write_door(board: Board, root: str, config: DoorConfig | None) -> str | None:
    """Have this document lie there, or none. Returns its SHA-256, by which the agent names it."""
    text = None if config is None else encode(config).decode()
    request = {"root": root, "kind": "door", "document": text}
    board.python(script("document"), request, doing="writing its door")
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
