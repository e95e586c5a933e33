"""HTTP/1.1 over asyncio: httptools takes requests apart, this module keeps their order and their limits.

The rule: one connection never harms another. What a client may send is bounded in bytes and in time, how many may
be connected is bounded, and a client that does not read its answers is not read from. Requests that are pipelined
are answered in their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import httptools

from agent.serving.messages import RETRY_AFTER_S, Request, Response, refusal

Handler = Callable[[Request], "Response | Awaitable[Response]"]

LOG = logging.getLogger("agent")
PHRASES = {
    200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWEEP_S = 1.0
PIPELINED = 16
"""Requests of one connection that may wait for an answer before no more of it is read."""


@dataclass(frozen=True)
class Limits:
    """What a client may cost.

    Attributes:
        head_bytes: request line and headers together. body_bytes: the body.
        connections: at once.
        receive_s: from the first byte of a request to its last, and one second more for each `body_rate` bytes.
        idle_s: between requests. write_s: for a client to read its answers.
    """

    head_bytes: int = 16 * 1024
    body_bytes: int = 32 * 1024 * 1024
    connections: int = 512
    receive_s: float = 20.0
    body_rate: int = 64 * 1024
    idle_s: float = 75.0
    write_s: float = 30.0


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Connections, handler: Handler, limits: Limits) -> None:
        self._server = server
        self._handler = handler
        self._limits = limits
        self._loop = server.loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._parsed_bytes = self._body_bytes = 0
        self._receiving = self._in_head = False
        self._refused = False
        self._pending: deque[Request | Response] = deque()
        self._task: asyncio.Task[Response] | None = None
        self._request: Request | None = None
        self._reading = True
        self._writable = True
        self.deadline = monotonic() + limits.receive_s

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.add(self):
            self._transport.write(
                rendered(refusal(503, "too many connections", close=True, retry_after_s=RETRY_AFTER_S), False)
            )
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.discard(self)
        if self._task is not None:
            self._task.cancel()
        self._pending.clear()

    def pause_writing(self) -> None:
        self._writable = False
        self.deadline = monotonic() + self._limits.write_s
        self._read(False)

    def resume_writing(self) -> None:
        self._writable = True
        self.deadline = monotonic() + self._limits.idle_s
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._receiving or self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True  # it was answered as if it had not asked; what follows is no HTTP
        except httptools.HttpParserError as error:
            self._refuse(refusal(400, f"no valid HTTP request: {error}", close=True))
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._refuse(refusal(431, "the request's head is too large", close=True))

    def eof_received(self) -> bool:
        """Whether to keep the connection open: while answers are due."""
        return self._task is not None or bool(self._pending)

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []
        self._parsed_bytes = self._body_bytes = 0
        self._receiving = self._in_head = True
        self.deadline = monotonic() + self._limits.receive_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._parsed_bytes += len(url)

    def on_header(self, name: bytes, value: bytes | None) -> None:
        value = value or b""
        self._headers[name.lower()] = value
        self._parsed_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        headers = self._headers
        if self._parsed_bytes > self._limits.head_bytes:
            self._refuse(refusal(431, "the request's head is too large", close=True))
            return
        length = headers.get(b"content-length", b"")
        if length.isdigit():
            declared = int(length)
            if declared > self._limits.body_bytes:
                self._refuse(self._too_large())
                return
            self.deadline += declared / self._limits.body_rate
        if b"expect" in headers and not self._busy:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(self._too_large())
        elif not self._refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        if self._refused:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        now = monotonic()
        self.deadline = now + self._limits.idle_s
        request = Request(
            self._parser.get_method().decode("ascii"),
            self._url.partition(b"?")[0].decode("latin-1"),
            self._headers,
            body,
            self._keeps_alive(),
            now,
        )
        if self._task is not None or self._pending or not self._writable:
            self._pending.append(request)
            if len(self._pending) >= PIPELINED:
                self._read(False)
        else:
            self._start(request)

    # --- requests in their order

    @property
    def _busy(self) -> bool:
        return self._task is not None or bool(self._pending) or not self._writable

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is here and no answer is under way."""
        return not (self._receiving or self._busy or self._transport.get_write_buffer_size())

    @property
    def expires(self) -> bool:
        """Whether its deadline counts: not while the agent itself is what is waited for."""
        return self._task is None

    def _keeps_alive(self) -> bool:
        parser = self._parser
        return bool(
            parser.should_keep_alive() and parser.get_http_version() == "1.1" and not parser.should_upgrade()
        )

    def _too_large(self) -> Response:
        text = f"the request's body is too large: at most {self._limits.body_bytes} bytes are taken"
        return refusal(413, text, close=True)

    def _refuse(self, response: Response) -> None:
        """Answer so, after what is due before it, and read no more."""
        if self._refused:
            return
        self._refused = True
        self._body = []
        if self._busy:
            self._pending.append(response)
        else:
            self._write(response, head_only=False)

    def _start(self, request: Request) -> None:
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
        if self._server.closing or not request.keep_alive:
            response = response._replace(close=True)
        self._write(response, head_only=request.method == "HEAD")

    def _next(self) -> None:
        while self._pending and self._task is None and self._writable and not self._transport.is_closing():
            item = self._pending.popleft()
            if isinstance(item, Response):
                self._write(item, head_only=False)
            else:
                self._start(item)
        if self._server.parking and self.idle:
            self.park()
        elif self._writable and len(self._pending) < PIPELINED and not self._server.parking:
            self._read(True)

    def _write(self, response: Response, *, head_only: bool) -> None:
        self._transport.write(rendered(response, head_only))
        if response.close:
            self._pending.clear()
            self._transport.close()

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    # --- the end

    def expired(self) -> None:
        """Its deadline has passed."""
        if not self._writable:
            self._transport.abort()
        elif self._receiving:
            self._refuse(refusal(408, "the request did not arrive in time", close=True))
        else:
            self._transport.close()

    def park(self) -> None:
        """Leave what comes next to the process that takes the connection over."""
        self._read(False)

    def close(self) -> None:
        """No more requests; answers under way are still given."""
        if self.idle:
            self._transport.close()

    def handle(self) -> int:
        """The socket's number."""
        return int(self._transport.get_extra_info("socket").fileno())


async def _awaited(outcome: Awaitable[Response]) -> Response:
    return await outcome


class Connections:
    """All clients: their number, their deadlines, and how it ends for them.

    Attributes:
        closing: each connection ends with the answer under way.
        parking: each connection stays, but nothing more is read from it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handler: Handler, limits: Limits | None = None
    ) -> None:
        self.loop = loop
        self.closing = self.parking = False
        self._handler = handler
        self._limits = limits or Limits()
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def new(self) -> Connection:
        """A protocol for a client that has just connected."""
        return Connection(self, self._handler, self._limits)

    def add(self, connection: Connection) -> bool:
        """Take it in, or say that there are too many."""
        if len(self._open) >= self._limits.connections:
            return False
        self._open.add(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        return True

    def discard(self, connection: Connection) -> None:
        """It is gone."""
        self._open.discard(connection)

    def _sweep(self) -> None:
        now = monotonic()
        for connection in [each for each in self._open if each.deadline < now and each.expires]:
            connection.expired()
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep) if self._open else None

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


_HEADS: dict[tuple[int, bytes], bytes] = {}


def rendered(response: Response, head_only: bool) -> bytes:
    """An answer's bytes."""
    key = (response.status, response.content_type)
    head = _HEADS.get(key)
    if head is None:
        phrase = PHRASES.get(response.status, b"Error")
        head = _HEADS[key] = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (
            response.status, phrase, response.content_type,
        )  # fmt: skip
    more = b""
    if response.headers:
        more = b"".join([b"\r\n%b: %b" % header for header in response.headers])
    if response.close:
        more += b"\r\nConnection: close"
    return b"%b%d%b\r\n\r\n%b" % (head, len(response.body), more, b"" if head_only else response.body)
