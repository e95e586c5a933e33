"""One HTTP connection that sends one request again and again, one at a time.

The rule: as cheap as can be, since the load shares the board's cores with what it measures. The request's bytes are
ready, of an answer only the status and the length are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


class Client(asyncio.Protocol):
    """A connection.

    Args:
        request: head and body.
        answered: called with this connection and an answer's status.
        lost: called with this connection and the reason when it ended.

    Attributes:
        since: when the request in flight was meant to be sent, on the loop's clock; None while there is none.
    """

    def __init__(
        self, request: bytes, answered: Callable[[Client, int], None], lost: Callable[[Client, str], None]
    ) -> None:
        self.since: float | None = None
        self._request = request
        self._answered = answered
        self._lost = lost
        self._transport = cast(asyncio.Transport, None)
        self._head = b""
        self._missing = 0
        self._status = 0
        self._reason = "connection ended"

    def send(self, since: float) -> None:
        """Send the request; `since` is when it was meant to be sent."""
        self.since = since
        self._transport.write(self._request)

    def close(self) -> None:
        """End the connection; nobody is told."""
        self._lost = lambda *_: None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self, type(exc).__name__ if exc else self._reason)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        elif not self._begin(data):
            return
        if self._missing > 0:
            return
        if self._missing < 0 or self.since is None:
            self._refuse("more than one answer")
            return
        self._answered(self, self._status)

    def _begin(self, data: bytes) -> bool:
        """Read an answer's head; whether it is whole."""
        if self._head:
            data = self._head + data
        end = data.find(END_OF_HEAD)
        if end < 0:
            self._head = data
            return False
        self._head = b""
        head = data[:end].lower()
        at = head.find(LENGTH)
        try:
            self._status = int(head[9:12])
            length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at > 0 else -1
        except ValueError:
            length = -1
        if length < 0:
            self._refuse("answer without a length")
            return False
        self._missing = end + len(END_OF_HEAD) + length - len(data)
        return True

    def _refuse(self, reason: str) -> None:
        self._reason = reason
        self._transport.abort()
