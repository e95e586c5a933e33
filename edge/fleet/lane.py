"""One connection through a reverse forward: a channel of the board on one side, a socket here on the other.

The rule: it never waits. What one side does not take stays here, and meanwhile nothing more is read from the other.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import paramiko

CHUNK_BYTES = 32 * 1024
CONNECT_S = 2.0


class Lane:
    """Bytes both ways, until either side ends."""

    def __init__(self, channel: paramiko.Channel, near: socket.socket) -> None:
        self._channel = channel
        self._near = near
        self._channel.setblocking(0)
        self._near.setblocking(False)
        self._to_board = memoryview(b"")
        self._to_near = memoryview(b"")
        self._descriptor = channel.fileno()

    @classmethod
    def open(cls, channel: paramiko.Channel, where: tuple[str, int]) -> Lane | None:
        """A lane from `channel` to `where`, or None when nobody listens there."""
        try:
            near = socket.create_connection(where, CONNECT_S)
        except OSError:
            return None
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(channel, near)

    @property
    def waits_for_board(self) -> bool:
        """There is something that the board does not take yet."""
        return bool(self._to_board)

    def wanted(self) -> Iterator[tuple[int, int]]:
        """Descriptors and the events of `poll` that let `move` do something."""
        events = 0 if self._to_board else select.POLLIN
        if self._to_near:
            events |= select.POLLOUT
        else:
            yield self._descriptor, select.POLLIN
        if events:
            yield self._near.fileno(), events

    def move(self) -> bool:
        """Pass on what can be passed on without waiting; False when one side has ended.

        Raises:
            OSError, EOFError, paramiko.SSHException: the SSH connection is gone.
        """
        return self._from_board() and self._from_near()

    def end(self) -> None:
        """End both sides."""
        self._near.close()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _from_board(self) -> bool:
        while True:
            if not self._to_near:
                if not self._channel.recv_ready() and not self._ended():
                    return True
                self._to_near = memoryview(self._channel.recv(CHUNK_BYTES))
                if not self._to_near:
                    return False
            try:
                self._to_near = self._to_near[self._near.send(self._to_near) :]
            except BlockingIOError:
                return True
            except OSError:
                return False

    def _from_near(self) -> bool:
        while True:
            if not self._to_board:
                try:
                    self._to_board = memoryview(self._near.recv(CHUNK_BYTES))
                except BlockingIOError:
                    return True
                except OSError:
                    return False
                if not self._to_board:
                    return False
            if not self._channel.send_ready():
                return not self._ended()
            self._to_board = self._to_board[self._channel.send(self._to_board) :]  # type: ignore[arg-type]

    def _ended(self) -> bool:
        return bool(self._channel.eof_received or self._channel.closed)
