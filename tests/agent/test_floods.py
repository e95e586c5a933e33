"""Many clients at once: what they make the agent hold is bounded, and a client that behaves is served all the while."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from agent.serving.http import Budget, Connections, Limits
from agent.serving.messages import Request, Response
from tests.agent.conftest import RunningAgent
from tests.agent.test_hostile import Other, descriptors, memory

MIB = 1 << 20
BUDGET = 4 * MIB


class Server:
    """Says how long a body was; all bodies together may be 4 MiB, one of them 2."""

    def __init__(self) -> None:
        self.most_held = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.budget = Budget(BUDGET)
        limits = Limits(body_bytes=2 * MIB, connections=64, address_connections=60)
        self._connections = Connections(self._loop, self._answer, limits, self.budget)
        server = await self._loop.create_server(self._connections.new, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await self._connections.close(1)

    def _answer(self, request: Request) -> Response:
        self.most_held = max(self.most_held, self.budget.held)
        return Response(200, b"%d" % len(request.body))

    def stand_still(self, seconds: float) -> None:
        """What comes meanwhile is found in one turn."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def post(client: socket.socket, body: bytes, declared: int | None = None) -> None:
    length = len(body) if declared is None else declared
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length + body)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_large_bodies_of_many_are_refused_before_a_small_one_is(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(connect(server))
        large = [stack.enter_context(connect(server)) for _ in range(20)]
        for number, client in enumerate(large):
            with contextlib.suppress(OSError):
                post(client, bytes(MIB + number), declared=2 * MIB)
            post(good, b"abc")
            assert good.recv(1000).endswith(b"\r\n\r\n3")
        assert 0 < server.most_held <= BUDGET
        refused = 0
        for client in large:
            client.settimeout(0.2)
            with contextlib.suppress(OSError):
                refused += client.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert refused > 10
    end = time.monotonic() + 5
    while server.budget.held and time.monotonic() < end:
        time.sleep(0.02)
    assert server.budget.held == 0


def test_one_that_has_just_gone_away_gives_way_like_any_other(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        sizes = (MIB * 196 // 100, MIB * 19 // 10, MIB // 10)
        leaving, _, going_on = clients = [stack.enter_context(connect(server)) for _ in sizes]
        for client, size in zip(clients, sizes, strict=True):
            post(client, bytes(size), declared=2 * MIB)
        end = time.monotonic() + 5
        while server.budget.held < sum(sizes) and time.monotonic() < end:
            time.sleep(0.01)
        server.stand_still(0.3)
        time.sleep(0.1)
        leaving.close()
        going_on.sendall(bytes(MIB // 4))

        good = stack.enter_context(connect(server))
        post(good, b"abc")
        assert good.recv(1000).endswith(b"\r\n\r\n3")


def test_a_large_body_alone_is_taken(server: Server) -> None:
    with connect(server) as client:
        for _ in range(5):
            post(client, bytes(2 * MIB))
            assert client.recv(1000).endswith(b"\r\n\r\n2097152")
    assert server.most_held == 2 * MIB


def test_one_address_does_not_fill_the_door(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(connect(server))
        post(good, b"")
        good.recv(1000)
        for _ in range(100):
            stack.enter_context(connect(server))
        with socket.create_connection(("127.0.0.1", server.port), 20, ("127.0.0.2", 0)) as other:
            post(other, b"abc")
            assert other.recv(1000).endswith(b"\r\n\r\n3")
        post(good, b"ab")
        assert good.recv(1000).endswith(b"\r\n\r\n2")


@pytest.mark.bed
def test_ten_thousand_idle_connections_are_noticed_by_nobody(served: RunningAgent) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    other = Other(served)
    files, used = descriptors(served), memory(served)
    idle: list[socket.socket] = []
    for number in range(10_000):
        idle.append(socket.create_connection(("127.0.0.1", served.port), timeout=60))
        if number % 100 == 0:
            assert other.is_served()
    assert other.is_served()
    assert descriptors(served) < files + 600
    assert memory(served) < used + 32 * MIB
    for client in idle:
        client.close()
    end = time.monotonic() + 20
    while descriptors(served) > files + 1 and time.monotonic() < end:
        time.sleep(0.1)
    assert descriptors(served) <= files + 1
