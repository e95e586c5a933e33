"""Who asks for the fleet's numbers and what the log says of it."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edge.collector.metrics_server import MetricsServer

RESET = struct.pack("ii", 1, 0)
TEXT = "edge_boards 1\n" * 100_000


@contextmanager
def answering(text: Callable[[], str]) -> Iterator[int]:
    """The port of a server; at the end it has done with everybody who asked."""
    before = threading.enumerate()
    server = MetricsServer(0, text)
    try:
        yield server.port
    finally:
        server.close()
        for thread in threading.enumerate():
            if thread not in before:
                thread.join()


def get(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return bytes(answer.read())


def test_who_asks_and_goes_away_leaves_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with answering(lambda: TEXT) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert get(port) == TEXT.encode()

    assert caplog.text == ""


def test_what_fails_here_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    with answering(broken) as port, pytest.raises((http.client.HTTPException, OSError)):
        get(port)

    assert "ZeroDivisionError" in caplog.text
