"""All clients of one door: their number, their deadlines, and how it ends for them.

The rule: where one too many comes, somebody goes who will hardly be missed, and a client that is being answered stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic

from agent.serving.http.connection import Connection
from agent.serving.http.limits import Budget, Limits
from agent.serving.http.roles import Admit, Handler

SWEEP_S = 1.0


class Connections:
    """The clients of one door.

    Args:
        loop: that they live in. handler: of their requests. limits: for each of them.
        budget: for the bytes of all, shared with other doors.
        admit: what refuses a request by its path and headers, before its body is read; None takes them all.

    Attributes:
        closing: each connection ends with the answer under way.
        parking: each connection stays, but nothing more is read from it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        limits: Limits | None = None,
        budget: Budget | None = None,
        admit: Admit | None = None,
    ) -> None:
        self.loop = loop
        self.budget = budget or Budget()
        self.closing = self.parking = False
        self._handler = handler
        self._admit = admit
        self._limits = limits or Limits()
        self._open: dict[Connection, None] = {}
        self._from: Counter[str | None] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def new(self) -> Connection:
        """A protocol for a client that has just connected."""
        return Connection(self, self._handler, self._limits, self._admit)

    def add(self, connection: Connection) -> bool:
        """Take it in, or say that there are too many."""
        address, most = connection.address, self._limits.address_connections
        if most is not None and self._from[address] >= most:
            if not self._shed(each for each in self._open if each.address == address):
                return False
        elif len(self._open) >= self._limits.connections and not self._shed(self._open):
            return False
        self._open[connection] = None
        self._from[address] += 1
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        return True

    def discard(self, connection: Connection) -> None:
        """It is gone."""
        if connection in self._open:
            del self._open[connection]
            self._from[connection.address] -= 1
            if not self._from[connection.address]:
                del self._from[connection.address]

    def _shed(self, among: Iterable[Connection]) -> bool:
        """End the connection that is missed least: the oldest of those that never said what they want, else the one
        that has been idle longest. Whether there was one."""
        idle: list[Connection] = []
        for connection in among:
            if connection.stranger:
                chosen = connection
                break
            if connection.idle:
                idle.append(connection)
        else:
            if not idle:
                return False
            chosen = min(idle, key=lambda each: each.deadline)
        self.discard(chosen)
        chosen.shed()
        return True

    def _sweep(self) -> None:
        now = monotonic()
        for connection in [each for each in self._open if each.deadline < now and each.expires]:
            connection.expired()
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep) if self._open else None

    async def linger(self, timeout_s: float) -> None:
        """Let clients hear with the answer to their next request that their connection ends."""
        self.closing = True
        await self._until(lambda: not self._open, timeout_s)

    def abort(self) -> None:
        """End what is left, whatever it is at."""
        for connection in list(self._open):
            connection.abort()

    async def close(self, timeout_s: float) -> None:
        """Let answers under way be given, then end all connections."""
        self.closing = True
        for connection in list(self._open):
            connection.close()
        await self._until(lambda: not self._open, timeout_s)

    async def park(self, timeout_s: float) -> list[int]:
        """Let answers under way be given, and read nothing more.

        Returns:
            The sockets of all clients that may go on in another process; what they have sent since is unread.
        """
        self.parking = True
        await self._until(lambda: all(each.idle for each in self._open), timeout_s)
        for connection in list(self._open):
            connection.park()
        handles = [connection.handle() for connection in self._open if connection.idle]
        return [handle for handle in handles if handle >= 0]

    async def _until(self, done: Callable[[], bool], timeout_s: float) -> None:
        end = monotonic() + timeout_s
        while not done() and monotonic() < end:
            await asyncio.sleep(0.01)
