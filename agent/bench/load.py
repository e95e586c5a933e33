"""The load itself: a closed loop, or an open loop without coordinated omission.

The rule: in a closed loop each connection sends its next request when it has its answer, so that a server which
stalls is asked less. In an open loop requests are due at times that the server has no influence on, and latency counts
from the time at which a request was due, whoever made it late: the server, the wait for a free connection, or this
generator. A request that is never answered counts with the time that it had waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from agent.bench.client import Client
from agent.contract.load import bucket

CONNECT_S = 10.0
DRAIN_S = 5.0
"""For the answers that are due when the window ends."""
RECONNECT_S = 0.05
LOOK_S = 0.1
"""So often it is seen whether somebody waits."""
NO_ANSWER = "no answer"

T = TypeVar("T")


@dataclass(frozen=True)
class Address:
    """Where the server listens. `tls`: how it is spoken to, None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass
class Tally:
    """What was seen in a window. `latencies` and `late`: counts by bucket; `errors`: by what they were."""

    sent: int = 0
    requests: int = 0
    waited: int = 0
    seconds: float = 0.0
    latencies: dict[int, int] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def failed(self, what: str, count: int = 1) -> None:
        self.errors[what] = self.errors.get(what, 0) + count


class Load:
    """Connections to a server, and windows of load on them. An async context manager.

    Args:
        address: of the server.
        request: the bytes that are sent each time.
        connections: at once.
        gone: set when nobody waits for the numbers any more; a window ends then.
    """

    def __init__(
        self, address: Address, request: bytes, connections: int, gone: threading.Event | None = None
    ) -> None:
        self._address = address
        self._request = request
        self._connections = connections
        self._gone = gone or threading.Event()
        self._loop = asyncio.get_running_loop()
        self._clients: set[Client] = set()
        self._idle: list[Client] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._tally = Tally()
        self._next: Callable[[float], float | None] = lambda _: None
        self._waiting: deque[float] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._settled = asyncio.Event()

    async def __aenter__(self) -> Load:
        try:
            for _ in range(self._connections):
                await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._opening:
            task.cancel()
        for client in self._clients:
            client.close()
        await asyncio.sleep(0)

    async def closed(self, seconds: float) -> Tally:
        """Each connection asks again when it was answered, for so many seconds."""
        began = self._begin()
        end = began + seconds

        def following(now: float) -> float | None:
            if now >= end or self._ending:
                return None
            self._tally.sent += 1
            return now

        self._next = following
        self._hand_out()
        await self._pass(began + seconds)
        return await self._finish(began)

    async def open(self, due: Iterator[float], seconds: float) -> Tally:
        """Requests at the times `due`, in seconds from now, all below `seconds`."""
        began = self._begin()
        self._next = self._from_waiting
        first = next(due, None)
        if first is not None:
            self._dispatch(began, due, began + first)
        await self._pass(began + seconds)
        return await self._finish(began)

    # --- the window

    def _begin(self) -> float:
        self._tally, self._ending = Tally(), False
        return self._loop.time()

    async def _pass(self, end: float) -> None:
        """Wait for the window's end, or for nobody's waiting for it any more."""
        while (left := end - self._loop.time()) > 0 and not self._gone.is_set():
            await asyncio.sleep(min(left, LOOK_S))
        if self._gone.is_set() and self._timer is not None:
            self._timer.cancel()

    async def _finish(self, began: float) -> Tally:
        """Wait for what is due, and count what does not come."""
        tally, self._settled, self._ending = self._tally, asyncio.Event(), True
        self._look()
        with contextlib.suppress(asyncio.TimeoutError):  # what is missing then is counted
            await asyncio.wait_for(self._settled.wait(), DRAIN_S)
        now = self._loop.time()
        tally.seconds = now - began
        self._next = lambda _: None
        missing = [client for client in self._clients if client.since is not None]
        for since in (*self._waiting, *(client.since for client in missing if client.since is not None)):
            self._count(now - since)
            tally.failed(NO_ANSWER)
        self._waiting.clear()
        self._tally = Tally()
        for client in missing:
            self._clients.discard(client)
            client.close()
            self._open_later()
        return tally

    def _dispatch(self, began: float, due: Iterator[float], intended: float) -> None:
        """Send what is due by now, and come back when the next one is."""
        tally, now = self._tally, self._loop.time()
        while intended <= now:
            tally.sent += 1
            late = bucket(int((now - intended) * 1e9))
            tally.late[late] = tally.late.get(late, 0) + 1
            if self._idle:
                self._idle.pop().send(intended)
            else:
                tally.waited += 1
                self._waiting.append(intended)
            following = next(due, None)
            if following is None:
                return
            intended, now = began + following, self._loop.time()
        self._timer = self._loop.call_at(intended, self._dispatch, began, due, intended)

    def _from_waiting(self, _: float) -> float | None:
        return self._waiting.popleft() if self._waiting else None

    def _count(self, latency_s: float) -> None:
        latencies, at = self._tally.latencies, bucket(int(latency_s * 1e9))
        latencies[at] = latencies.get(at, 0) + 1

    # --- the connections

    async def _open(self) -> None:
        address = self._address
        _, client = await asyncio.wait_for(
            self._loop.create_connection(
                lambda: Client(self._request, self._answered, self._lost),
                address.host,
                address.port,
                ssl=address.tls,
            ),
            CONNECT_S,
        )
        self._clients.add(client)
        self._take(client)

    def _answered(self, client: Client, status: int) -> None:
        since, client.since = client.since, None
        now = self._loop.time()
        if status == 200 and since is not None:
            self._tally.requests += 1
            self._count(now - since)
        else:
            self._tally.failed(str(status))
        following = self._next(now)
        if following is not None:
            client.send(following)
            return
        self._idle.append(client)
        if self._ending:
            self._look()

    def _lost(self, client: Client, reason: str) -> None:
        if client in self._idle:
            self._idle.remove(client)
        self._clients.discard(client)
        if client.since is not None:
            self._tally.failed(reason)
        self._open_later()
        self._look()

    def _open_later(self) -> None:
        task = self._loop.create_task(self._again())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _again(self) -> None:
        """Open a connection in the place of one that ended, as often as it takes."""
        while True:
            await asyncio.sleep(RECONNECT_S)
            try:
                await self._open()
            except (OSError, asyncio.TimeoutError) as error:
                self._tally.failed(type(error).__name__)
            else:
                return

    def _take(self, client: Client) -> None:
        following = self._next(self._loop.time())
        if following is None:
            self._idle.append(client)
        else:
            client.send(following)

    def _hand_out(self) -> None:
        idle, self._idle = self._idle, []
        for client in idle:
            self._take(client)

    def _look(self) -> None:
        """Whether all that was sent is answered."""
        if not self._waiting and all(client.since is None for client in self._clients):
            self._settled.set()


def run(work: Callable[[], Awaitable[T]], *, precise: bool) -> T:
    """Run the work on an event loop of its own.

    Args:
        work: what is run.
        precise: wake up to the microsecond. epoll, which asyncio uses, waits whole milliseconds: longer than many
            models take. `select` does not, and costs a little more for each connection.
    """
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector()) if precise else asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_awaited(work))
    finally:
        loop.close()


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
