"""One request to the board's own agent, which may be anything by now.

The rule: it ends in its time as a whole, however slowly the answer trickles in, and no more of it is read than was
said.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

HEAD_BYTES = 2000


def ask(
    host: str,
    port: int,
    method: str,
    path: str,
    *,
    timeout_s: float,
    body: bytes | None = None,
    limit_bytes: int = HEAD_BYTES,
) -> tuple[int, bytes]:
    """Status and first bytes of the answer.

    Raises:
        OSError, http.client.HTTPException: there was none in `timeout_s` seconds.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    end = time.monotonic() + timeout_s
    try:
        connection.connect()
        hang_up = threading.Timer(end - time.monotonic(), _shut, [connection.sock])
        hang_up.daemon = True
        hang_up.start()
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            head = answer.read(limit_bytes)
        finally:
            hang_up.cancel()
        if time.monotonic() >= end:
            raise TimeoutError(f"no whole answer in {timeout_s:g} s")
        return answer.status, head
    finally:
        connection.close()


def _shut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
