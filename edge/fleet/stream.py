"""A board's stream: its document on the board and what the agent says of it, over SSH."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar

from agent.contract.codec import decode, encode
from agent.contract.errors import EdgeError, LinkNotReady
from agent.contract.stream import StreamConfig, StreamState
from edge.fleet.connection import Board
from edge.fleet.onboard import script

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StreamFound:
    """What lies on the board. `config`: None where there is no stream. `state`: None where nothing was said of it."""

    config: StreamConfig | None
    state: StreamState | None


def read_stream(board: Board, root: str) -> StreamFound:
    """The stream's document, and what the agent says of it.

    Raises:
        LinkNotReady: there is no place for it.
    """
    found = board.python(script("document"), {"root": root, "kind": "stream"}, doing="reading its stream")
    if not found["folder"]:
        raise LinkNotReady(device=board.name)
    return StreamFound(
        config=_read(StreamConfig, found["document"]),
        state=_read(StreamState, found["state"]),
    )


def write_stream(board: Board, root: str, config: StreamConfig | None) -> str:
    """Have this document lie there, or none. Returns what the agent will say that it has seen."""
    text = None if config is None else encode(config).decode()
    request = {"root": root, "kind": "stream", "document": text}
    board.python(script("document"), request, doing="writing its stream")
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _read(kind: type[T], text: str | None) -> T | None:
    """None where there is none, or none that this version reads."""
    try:
        return decode(kind, (text or "").encode())
    except EdgeError:
        return None
