"""A TLS socket for paho, which asks for three bytes at a time and sends each packet alone: here in batches.

The rule: what Python's own `SSLSocket` does, and nothing of MQTT. A TLS record is read once, however often it is asked
for; what is sent waits for `push`, which sends all of it at once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from typing import Any

from edge.collector.broker import Broker

RECORD_BYTES = 16 * 1024
"""The most that one TLS record holds."""
FAREWELL_S = 1.0


class BatchedSocket(ssl.SSLSocket):
    """Not blocking after its handshake, but for `push`.

    Attributes:
        drained: the last `recv` found nothing; whoever reads sets it back.
    """

    drained = False
    _record = b""
    _at = 0
    _unsent: bytes | bytearray = b""

    @property
    def holds(self) -> bool:
        """Whether there is something to read that `poll` does not see."""
        return self._at < len(self._record) or self.pending() > 0

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """See `SSLSocket`."""
        data = self._record[self._at : self._at + buflen]
        if data:
            self._at += len(data)
            return data
        try:
            self._record = super().recv(RECORD_BYTES, flags)
        except ssl.SSLWantReadError:
            self.drained = True
            raise
        data = self._record[:buflen]
        self._at = len(data)
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """Keep it for `push`; all of it."""
        if not self._unsent:
            self._unsent = bytearray()
        self._unsent += data
        return len(data)

    def push(self, timeout_s: float) -> None:
        """Send what was given to `send`.

        Raises:
            TimeoutError: the other end did not take it in time.
            OSError: the connection has ended.
        """
        left, self._unsent = memoryview(self._unsent), b""
        deadline = time.monotonic() + timeout_s
        while left:
            try:
                left = left[super().send(left) :]
            except ssl.SSLWantWriteError:
                self._wait(deadline)

    def close(self) -> None:
        """Say goodbye, where there is somebody who hears it."""
        with contextlib.suppress(OSError):  # the connection has ended, or its answer is not there yet
            self.push(FAREWELL_S)
            self.unwrap()
        super().close()

    def _wait(self, deadline: float) -> None:
        ready = select.poll()  # `select` can't see descriptors above 1023, and every tunnel has some
        ready.register(self, select.POLLOUT)
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("it takes nothing")


class BatchedContext(ssl.SSLContext):
    """The collector's certificate, and the broker's name, which is not the address that paho knows."""

    sslsocket_class = BatchedSocket
    server_name: str

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """See `SSLContext`."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return super().wrap_socket(sock, *arguments, **{**options, "server_hostname": self.server_name})


def context(broker: Broker) -> BatchedContext:
    """What the broker must show, and what it is shown.

    Raises:
        OSError: a file can't be read, or a key does not belong to its certificate.
    """
    made = BatchedContext(ssl.PROTOCOL_TLS_CLIENT)
    made.server_name = broker.server_name or broker.host
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.ca_file is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(broker.ca_file)
    made.load_cert_chain(broker.certificate_file, broker.key_file)
    return made
