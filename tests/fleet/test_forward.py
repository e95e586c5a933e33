from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.contract.errors import PortTaken
from edge.fleet.checkup import forwarding_refused
from tests.beds.board import free_port
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.fleet.conftest import Open

BODY = bytes(range(256)) * 256


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of an HTTP server on the board's loopback, which is this machine's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def test_many_requests_pass_while_commands_run(open_board: Open, port: int) -> None:
    board = open_board()
    with board.forward(port) as forward, ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(get, forward.url) for _ in range(200)]
        results = [board.run(["echo", str(number)]).stdout for number in range(10)]
        assert all(answer.result() == BODY for answer in answers)
    assert results == [f"{number}\n".encode() for number in range(10)]


def test_closing_ends_threads_and_connections(open_board: Open, port: int) -> None:
    board = open_board()
    before = set(threading.enumerate())
    forward = board.forward(port)
    with socket.create_connection(("127.0.0.1", forward.local_port)) as open_one:
        open_one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert open_one.recv(4) == b"HTTP"
        forward.close()
        open_one.settimeout(5)
        while open_one.recv(65536):
            pass  # what was on its way
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert [name for name in left if name.startswith("edge-")] == []
    with pytest.raises(OSError, match=r"refused|reset"):
        socket.create_connection(("127.0.0.1", forward.local_port), 1)
    assert board.run(["true"]).status == 0


def test_it_is_reached_on_loopback_only(open_board: Open, port: int) -> None:
    with open_board().forward(port) as forward:
        assert forward._listener.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_here_is_named(open_board: Open, port: int) -> None:
    with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1 is taken"):
        open_board().forward(port, local_port=port)


def test_a_port_where_nobody_listens_on_the_board_ends_the_connection(open_board: Open) -> None:
    with open_board().forward(free_port()) as forward:
        with socket.create_connection(("127.0.0.1", forward.local_port), 5) as link:
            assert link.recv(1) == b""
        deadline = time.monotonic() + 5
        while forward.refused is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "Connect failed" in str(forward.refused)


def test_a_board_that_forbids_forwarding_is_told_from_one_where_nobody_listens(
    open_board: Open, bed: SshdBoard
) -> None:
    assert forwarding_refused(open_board(), free_port()) is None
    with SshdBoard("closed", SshdOptions(forwarding=False)) as closed:
        assert forwarding_refused(open_board(closed.board), 9) == "the board's sshd forbids it"
