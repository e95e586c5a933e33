"""What clients may do to a connection: real sockets, with small limits."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from agent.serving.accepting import stop_accepting
from agent.serving.http import Connections, Limits
from agent.serving.messages import Request, Response

LIMITS = Limits(
    head_bytes=2000, body_bytes=5000, connections=4, receive_s=0.5, idle_s=1.0, write_s=1.0, body_rate=10**9
)


class EchoServer:
    """Answers with what it was sent; `/slow` after a while; `/held` when told to; `/large` with a lot.

    `under_way`: slow requests that were taken and are not ended yet, as a model counts them.
    """

    def __init__(self, limits: Limits) -> None:
        self.under_way = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(limits)))
        self._thread.start()
        self._ready.wait(10)

    async def _serve(self, limits: Limits) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._released = asyncio.Event()
        self.connections = Connections(self.loop, self._answer, limits)
        server = await self.loop.create_server(self.connections.new, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await stop_accepting(server)
        await self.connections.close(1)

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        if request.path == "/slow":
            self.under_way += 1
            return self._slow(request)
        if request.path == "/held":
            return self._held()
        if request.path == "/large":
            return Response(200, b"x" * 20_000_000)
        return Response(200, request.path.encode() + b" " + request.body)

    async def _slow(self, request: Request) -> Response:
        try:
            await asyncio.sleep(0.3)
            return Response(200, b"slow " + request.body)
        finally:
            self.under_way -= 1

    async def _held(self) -> Response:
        await self._released.wait()
        return Response(200, b"held")

    def release(self) -> None:
        self.loop.call_soon_threadsafe(self._released.set)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    echo = EchoServer(LIMITS)
    yield echo
    echo.stop()


Talk = Callable[..., bytes]


@pytest.fixture
def talk(server: EchoServer) -> Talk:
    """Send pieces, with pauses in between, and read until the server ends the connection or `until` is there."""

    def talk(*pieces: bytes, pause_s: float = 0.0, until: bytes | None = None) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            for piece in pieces:
                try:
                    client.sendall(piece)
                except OSError:
                    break
                time.sleep(pause_s)
            found = b""
            try:
                while until is None or until not in found:
                    data = client.recv(65536)
                    if not data:
                        break
                    found += data
            except ConnectionResetError:
                pass
            return found

    return talk


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CLOSE = "Connection: close"


def test_a_request_in_single_bytes(talk: Talk) -> None:
    whole = post("/a?b=c", b"hello", CLOSE)
    answer = talk(*(whole[i : i + 1] for i in range(len(whole))))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"/a hello")


def test_pipelined_requests_are_answered_in_their_order(talk: Talk) -> None:
    answer = talk(
        post("/1", b"") + post("/slow", b"2") + post("/3", b"") + post("/slow", b"4") + post("/5", b"", CLOSE)
    )

    assert [part.rpartition(b"\r\n\r\n")[2].strip() for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"/1",
        b"slow 2",
        b"/3",
        b"slow 4",
        b"/5",
    ]


def test_very_many_pipelined_requests(talk: Talk) -> None:
    answer = talk(post("/slow", b"0") + post("/x", b"") * 500 + post("/end", b"", CLOSE))

    assert answer.count(b"HTTP/1.1 200 OK") == 502
    assert answer.endswith(b"/end ")


def test_chunked_bodies_are_taken(talk: Talk) -> None:
    head = b"POST /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert talk(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").endswith(b"/c abcde")


def test_a_client_that_asks_before_it_sends(talk: Talk) -> None:
    head = b"POST /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    answer = talk(head, b"abc", pause_s=0.1)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_head_has_no_body(talk: Talk) -> None:
    answer = talk(b"HEAD /abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_is_answered_and_closed(talk: Talk) -> None:
    assert talk(b"GET /old HTTP/1.0\r\n\r\n").endswith(b"/old ")


BAD = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a negative length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n", 400),
    "a bad chunk": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "an upgrade": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    "a large head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 3000 + b"\r\n\r\n", 431),
    "an endless head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000, 431),
    "many headers": (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: v\r\n" % i for i in range(500)) + b"\r\n",
        431,
    ),
    "a long path": (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "a body that is said to be large": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5001\r\n\r\n", 413),
    "a body that is large": (post("/", b"a" * 5001), 413),
    "chunks without end": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"100\r\n"
        + b"a" * 256
        + b"\r\n" * 1,
        408,
    ),
}


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD)
def test_bad_requests_end_the_connection_and_no_other(talk: Talk, data: bytes, status: int) -> None:
    answer = talk(data)

    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert answer.lower().count(b"connection: close") == answer.count(b"HTTP/1.1 ") == 1
    assert talk(post("/well", b"", CLOSE)).endswith(b"/well ")


def test_chunks_that_sum_up_are_refused(talk: Talk) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert talk(head, *[b"3e8\r\n" + b"a" * 1000 + b"\r\n"] * 6, pause_s=0.01).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "beginning",
    [
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
def test_a_slow_request_is_ended(talk: Talk, beginning: bytes) -> None:
    began = time.monotonic()
    answer = talk(beginning)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 4


def test_a_client_that_says_nothing_is_ended(talk: Talk) -> None:
    assert talk() == b""
    assert talk(post("/one", b"")).endswith(b"/one ")


def test_a_client_that_does_not_read_costs_nobody(server: EchoServer, talk: Talk) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(post("/large", b"") * 20)
        time.sleep(0.2)

        assert talk(post("/well", b"", CLOSE)).endswith(b"/well ")
        end = time.monotonic() + 8
        while len(server.connections) and time.monotonic() < end:
            time.sleep(0.05)
        assert len(server.connections) == 0


def test_nor_one_that_leaves_a_little_unread(server: EchoServer) -> None:
    def unread() -> int:
        return sum(each._transport.get_write_buffer_size() for each in list(server.connections._open))

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", server.port))
        while not unread():
            client.sendall(post("/x", bytes(4000)))
            time.sleep(0.001)
        assert unread() < 64 * 1024
        end = time.monotonic() + 8
        while len(server.connections) and time.monotonic() < end:
            time.sleep(0.05)
        assert len(server.connections) == 0


@pytest.mark.parametrize("path", ["/fast", "/slow"])
def test_a_client_that_has_said_all_reads_to_the_end_without_waiting(server: EchoServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        began = time.monotonic()
        client.sendall(post(path, b"abc"))
        client.shutdown(socket.SHUT_WR)
        found = b"".join(iter(lambda: client.recv(65536), b""))
    assert found.endswith(b" abc")
    assert time.monotonic() - began < LIMITS.idle_s


def connected(server: EchoServer, *said: bytes) -> list[socket.socket]:
    """Clients that have said so much each, one after the other."""
    clients = []
    for data in said:
        clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        clients[-1].sendall(data)
        if data:
            time.sleep(0.02)
    return clients


def test_a_client_too_many_is_told_so_while_all_others_are_being_answered(
    server: EchoServer, talk: Talk
) -> None:
    others = connected(server, *[post("/held", b"")] * LIMITS.connections)

    refused = talk(post("/", b""))

    assert refused == b"" or refused.startswith(b"HTTP/1.1 503 ")
    server.release()
    for other in others:
        assert other.recv(1000).endswith(b"held")
        other.close()
    assert talk(post("/well", b"", CLOSE)).endswith(b"/well ")


def test_a_client_too_many_takes_the_place_of_one_that_never_said_what_it_wants(
    server: EchoServer, talk: Talk
) -> None:
    known, silent, half, last = connected(server, post("/", b""), b"", b"POST / HT", post("/", b""))

    assert talk(post("/well", b"", CLOSE)).endswith(b"/well ")
    assert silent.recv(1000) == b""
    for other in (known, half, last):
        other.close()


def test_or_of_the_one_that_has_been_idle_longest(server: EchoServer, talk: Talk) -> None:
    oldest, *others = connected(server, *[post("/", b"")] * LIMITS.connections)
    assert oldest.recv(1000).endswith(b"/ ")

    assert talk(post("/well", b"", CLOSE)).endswith(b"/well ")
    assert oldest.recv(1000) == b""
    for other in others:
        other.sendall(post("/still", b""))
        assert other.recv(1000).endswith(b"/ ")
        other.close()


def test_a_client_that_goes_away_is_forgotten(server: EchoServer) -> None:
    for _ in range(20):
        client: Any = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.sendall(post("/slow", b"") * 3)
        client.close()
    end = time.monotonic() + 5
    while len(server.connections) and time.monotonic() < end:
        time.sleep(0.05)

    assert len(server.connections) == 0


@pytest.mark.parametrize("turns", range(5))
def test_a_client_that_comes_when_no_more_are_accepted_waits_or_is_served(turns: int) -> None:
    """The loop accepts a client in one turn and makes its connection in later ones; the end may come in between."""

    async def end_after() -> tuple[int, bool]:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            connections = Connections(loop, lambda request: Response(200, b""), LIMITS)
            server = await loop.create_server(connections.new, sock=listening.dup())
            await asyncio.sleep(0.01)
            with socket.create_connection(listening.getsockname()):
                for _ in range(turns):
                    await asyncio.sleep(0)
                await stop_accepting(server)
                listening.setblocking(False)
                try:
                    listening.accept()[0].close()
                    waits = True
                except BlockingIOError:
                    waits = False
                known = len(connections)
            await connections.close(1)
            return known, waits

    known, waits = asyncio.run(end_after())
    assert known + waits == 1


def test_a_request_of_a_client_that_went_away_while_others_were_answered_counts_no_more(
    server: EchoServer,
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(post("/first", b""))
        client.recv(1000)
        server.loop.call_soon_threadsafe(time.sleep, 0.2)  # what is sent now is read when the client has gone
        client.sendall(post("/a", b"") * 3 + post("/slow", b""))

    time.sleep(0.7)

    assert server.under_way == 0
