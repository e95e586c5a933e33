"""TLS over a socket, read by the hundred: one system call brings what many messages are, however a broker cut them.

The rule: what Python's own `SSLSocket` does, with the bytes in memory in between. Mosquitto sends each message as a
record of its own, and OpenSSL asks the system twice for each; that alone cost a third of what a message cost.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

READ_BYTES = 256 * 1024
FAREWELL_S = 1.0
PIECE_BYTES = 16 * 1024
"""The most that one TLS record holds."""


class TlsLink:
    """A connection whose other end has shown a certificate for `server_name`. Not blocking after `connect`."""

    def __init__(
        self, link: socket.socket, context: ssl.SSLContext, server_name: str, *, timeout_s: float
    ) -> None:
        """Shake hands.

        Raises:
            OSError: no handshake in time, or the wrong certificate (`ssl.SSLError`).
        """
        self._link = link
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._link.setblocking(False)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._tls.do_handshake()
                self._push(deadline)
                return
            except ssl.SSLWantReadError:
                self._push(deadline)
                self._pull(deadline)

    def fileno(self) -> int:
        """For `poll`: there is something to read."""
        return self._link.fileno()

    def receive(self, most_bytes: int) -> bytes:
        """What is there, some `most_bytes` at the most; nothing where nothing is. Never waits.

        Raises:
            OSError: the connection has ended, and everything before that was given.
        """
        pieces: list[bytes] = []
        size = 0
        ended: OSError | None = None
        while size < most_bytes:
            try:
                data = self._link.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                ended = error
                break
            if not data:
                ended = ConnectionResetError("it closed the connection")
                break
            self._incoming.write(data)
            size += self._decrypt(pieces)
        if ended is not None and not pieces:
            raise ended
        return b"".join(pieces)

    def wait(self, timeout_s: float) -> bytes:
        """What comes next, at least a byte.

        Raises:
            TimeoutError: nothing came in time.
            OSError: the connection has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not (data := self.receive(READ_BYTES)):
            self._wait(select.POLLIN, deadline)
        return data

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of it.

        Raises:
            TimeoutError: the other end did not take it in time.
            OSError: the connection has ended.
        """
        self._tls.write(data)
        self._push(time.monotonic() + timeout_s)

    def close(self) -> None:
        """Say that it ends, and end it."""
        try:
            with contextlib.suppress(ssl.SSLWantReadError):  # the answer is not waited for
                self._tls.unwrap()
            self._push(time.monotonic() + FAREWELL_S)
        except OSError:
            return  # it has ended already
        finally:
            self._link.close()

    def _decrypt(self, pieces: list[bytes]) -> int:
        """All that can be read of what came; how much that was."""
        size = 0
        try:
            while piece := self._tls.read(PIECE_BYTES):
                pieces.append(piece)
                size += len(piece)
        except ssl.SSLWantReadError:
            return size
        except ssl.SSLZeroReturnError as error:
            raise ConnectionResetError("it closed the connection") from error
        return size

    def _pull(self, deadline: float) -> None:
        self._wait(select.POLLIN, deadline)
        data = self._link.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._incoming.write(data)

    def _push(self, deadline: float) -> None:
        left = memoryview(self._outgoing.read())
        while left:
            try:
                left = left[self._link.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)

    def _wait(self, event: int, deadline: float) -> None:
        ready = select.poll()  # `select` can't see descriptors above 1023, and every tunnel has some
        ready.register(self._link, event)
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("it did not answer in time")
