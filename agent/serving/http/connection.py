"""One client's connection: requests come in, each gets its answer, in their order.

The rule: one connection never harms another. A client that does not read its answers is not read from; requests that
are pipelined are answered in their order, and how many of them may wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from time import monotonic
from typing import cast

from agent.serving.http.limits import SMALL_BYTES, Limits
from agent.serving.http.receiving import Receiver
from agent.serving.http.rendering import CONTINUE, rendered
from agent.serving.http.roles import Admit, Handler, Keeper
from agent.serving.messages import RETRY_AFTER_S, Request, Response, refusal

PIPELINED = 16
"""Requests of one connection that may wait for an answer before no more of it is read."""
LINGER_S = 2.0
"""For a client that still sends what was refused to read why: ended at once, it would only see a broken connection."""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Keeper, handler: Handler, limits: Limits, admit: Admit | None = None) -> None:
        self._server = server
        self._handler = handler
        self._limits = limits
        self._loop = server.loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._receiver = Receiver(self, limits, admit)
        self._pending: deque[Request | Response] = deque()
        self._task: asyncio.Task[Response] | None = None
        self._request: Request | None = None
        self._reading = True
        self._writable = True
        self._heard_all = False
        self._unread = 0
        self.deadline = monotonic() + limits.receive_s
        self.held = 0
        self.address: str | None = None

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else None
        if not self._server.add(self):
            self.refuse(refusal(503, "too many connections", close=True, retry_after_s=RETRY_AFTER_S))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.discard(self)
        self._server.budget.give_back(self, self.held)
        if self._task is not None:
            self._task.cancel()
        self._pending.clear()

    def pause_writing(self) -> None:
        self._writable = False
        self.deadline = monotonic() + self._limits.write_s
        self._read(False)
        self._unread = self._transport.get_write_buffer_size()
        self._server.budget.take(self, self._unread)

    def resume_writing(self) -> None:
        self._writable = True
        self.deadline = monotonic() + self._limits.idle_s
        self._server.budget.give_back(self, self._unread)
        self._unread = 0
        self._next()

    def data_received(self, data: bytes) -> None:
        self._receiver.feed(data)

    def eof_received(self) -> bool:
        """Whether to keep the connection open: while answers are due. With the last of them it ends."""
        self._heard_all = True
        return self._task is not None or bool(self._pending)

    # --- requests in their order

    def take(self, request: Request) -> None:
        """Answer a whole request when those before it are answered."""
        if self._task is None and not self._pending and self._writable:
            self._start(request)
            return
        if len(request.body) <= SMALL_BYTES:
            self._server.budget.take(self, len(request.body))
        self._pending.append(request)
        if len(self._pending) >= PIPELINED:
            self._read(False)

    def refuse(self, response: Response) -> None:
        """Answer so, after what is due before it, and read no more."""
        if self._receiver.refused or self._transport.is_closing():
            return
        self._receiver.refuse()
        if self._busy:
            self._pending.append(response)
        else:
            self._write(response, head_only=False)

    def encourage(self) -> None:
        """The client waits to be told that its body is wanted. While an answer is due it would take it for that one."""
        if not self._busy:
            self._transport.write(CONTINUE)

    def count(self, more_bytes: int) -> None:
        """So much more of a body is kept; less where it is negative."""
        budget = self._server.budget
        if more_bytes < 0:
            budget.give_back(self, -more_bytes)
        else:
            budget.take(self, more_bytes)

    @property
    def _busy(self) -> bool:
        return self._task is not None or bool(self._pending) or not self._writable

    @property
    def stranger(self) -> bool:
        """Whether it never said what it wants."""
        return self._receiver.stranger

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is here and no answer is under way."""
        return not (self._receiver.receiving or self._busy or self._transport.get_write_buffer_size())

    @property
    def expires(self) -> bool:
        """Whether its deadline counts: not while the agent itself is what is waited for."""
        return self._task is None

    def _start(self, request: Request) -> None:
        if self._transport.is_closing():
            return  # a task that is ended before it begins could not say so to whom it counts for
        self._request = request
        outcome = self._handler(request)
        if isinstance(outcome, Response):
            self._finish(request, outcome)
        else:
            self._task = self._loop.create_task(_awaited(outcome))
            self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Response]) -> None:
        self._task = None
        self.deadline = monotonic() + self._limits.idle_s
        if task.cancelled() or self._transport.is_closing() or self._request is None:
            return
        self._finish(self._request, task.result())
        self._next()

    def _finish(self, request: Request, response: Response) -> None:
        self._request = None
        if len(request.body) > SMALL_BYTES:
            self._server.budget.give_back(self, len(request.body))
        if self._server.closing or not request.keep_alive:
            response = response._replace(close=True)
        self._write(response, head_only=request.method == "HEAD")

    def _next(self) -> None:
        while self._pending and self._task is None and self._writable and not self._transport.is_closing():
            item = self._pending.popleft()
            if isinstance(item, Response):
                self._write(item, head_only=False)
                continue
            if len(item.body) <= SMALL_BYTES:
                self._server.budget.give_back(self, len(item.body))
            self._start(item)
        if self._heard_all and self._task is None and not self._pending:
            self._end()
        elif self._server.parking and self.idle:
            self.park()
        elif self._writable and len(self._pending) < PIPELINED and not self._server.parking:
            self._read(True)

    def _write(self, response: Response, *, head_only: bool) -> None:
        self._transport.write(rendered(response, head_only))
        if response.close:
            self._receiver.refuse()
            self._pending.clear()
            if self._receiver.receiving and not self._transport.is_closing():
                self._linger()
            else:
                self._end()

    def _linger(self) -> None:
        """Take what the client still sends, and throw it away, until it has read the answer or its time is over."""
        self.deadline = monotonic() + LINGER_S
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _end(self) -> None:
        """End when what is written was read; the client has its time for that."""
        self.deadline = monotonic() + self._limits.write_s
        self._transport.close()

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    # --- the end

    def expired(self) -> None:
        """Its deadline has passed."""
        if not self._writable or self._transport.is_closing():
            self._transport.abort()  # it does not read: what is closed only would wait for it for ever
        elif self._receiver.receiving and not self._receiver.refused:
            self.refuse(refusal(408, "the request did not arrive in time", close=True))
        else:
            self._end()

    def park(self) -> None:
        """Leave what comes next to the process that takes the connection over."""
        self._read(False)

    def close(self) -> None:
        """No more requests; answers under way are still given."""
        if self.idle:
            self._transport.close()

    def shed(self) -> None:
        """Make room for another client."""
        self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    @property
    def can_yield(self) -> bool:
        """Whether it holds more than the one request that its model is at work on."""
        return bool(self._receiver.holds or self._pending) or not self._writable

    def yield_memory(self) -> None:
        """Give back what it holds: all connections together hold too much, and this one most."""
        if self._receiver.holds and not self._busy and not self._transport.is_closing():
            self.refuse(
                refusal(503, "too many large requests at once", close=True, retry_after_s=RETRY_AFTER_S)
            )
        else:
            self._server.budget.give_back(self, self.held)
            self._receiver.refuse()
            self._pending.clear()
            self._transport.abort()

    def handle(self) -> int:
        """The socket's number."""
        return int(self._transport.get_extra_info("socket").fileno())


async def _awaited(outcome: Awaitable[Response]) -> Response:
    return await outcome
