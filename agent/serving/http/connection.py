"""One client's connection: requests come in, each gets its answer, in their order.

The rule: one connection never harms another. What a client may send is bounded in bytes, in count and in time, and a
client that does not read its answers is not read from. Requests that are pipelined are answered in their order. What
two readers could understand in two ways is refused, and ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from time import monotonic
from typing import Any, cast

import httptools

from agent.serving.http.limits import SMALL_BYTES, Limits
from agent.serving.http.rendering import CONTINUE, rendered
from agent.serving.http.roles import Admit, Handler, Keeper
from agent.serving.messages import RETRY_AFTER_S, Request, Response, refusal

LOG = logging.getLogger("agent")
PIPELINED = 16
"""Requests of one connection that may wait for an answer before no more of it is read."""
FRAMING_SHARE = 4
"""A chunked body's lengths and trailers may be one in so many of its bytes, beyond those of a head."""
VERSIONS = ("1.0", "1.1")
LINGER_S = 2.0
"""For a client that still sends what was refused to read why: ended at once, it would only see a broken connection."""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Keeper, handler: Handler, limits: Limits, admit: Admit | None = None) -> None:
        self._server = server
        self._handler = handler
        self._admit = admit
        self._limits = limits
        self._loop = server.loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._parsed_bytes = self._header_count = self._body_bytes = 0
        self._receiving = self._in_head = self._chunked = False
        self._refused = False
        self._pending: deque[Request | Response] = deque()
        self._task: asyncio.Task[Response] | None = None
        self._request: Request | None = None
        self._reading = True
        self._writable = True
        self._unread = 0
        self.deadline = monotonic() + limits.receive_s
        self.stranger = True
        self.held = 0
        self.address: str | None = None

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else None
        if not self._server.add(self):
            self._refuse(refusal(503, "too many connections", close=True, retry_after_s=RETRY_AFTER_S))

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
        if self._refused:
            return
        if self._in_head or not self._receiving or self._chunked:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True  # it was answered as if it had not asked; what follows is no HTTP
        except httptools.HttpParserCallbackError:  # not the client's fault, but ours
            LOG.exception("a request could not be taken")
            self._refuse(refusal(500, "the agent failed on this request", close=True))
        except httptools.HttpParserError as error:
            self._refuse(refusal(400, f"no valid HTTP request: {error}", close=True))
        if self._head_bytes > self._limits.head_bytes:
            self._check_framing()

    def eof_received(self) -> bool:
        """Whether to keep the connection open: while answers are due."""
        return self._task is not None or bool(self._pending)

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []
        self._parsed_bytes = self._header_count = self._body_bytes = 0
        self._receiving = self._in_head = True
        self._chunked = False
        self.deadline = monotonic() + self._limits.receive_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._parsed_bytes += len(url)

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if not self._in_head:
            return  # a trailer says nothing that was not said before the body
        value = value or b""
        name = name.lower()
        headers = self._headers
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value
        self._parsed_bytes += len(name) + len(value)
        self._header_count += 1
        if self._header_count > self._limits.headers:
            self._refuse(refusal(431, "the request has too many headers", close=True))

    def on_headers_complete(self) -> None:
        self._in_head = self.stranger = False
        if self._refused:
            return
        headers = self._headers
        if self._parsed_bytes > self._limits.head_bytes:
            self._refuse(refusal(431, "the request's head is too large", close=True))
            return
        if self._admit is not None:
            refused = self._admit(self._url.partition(b"?")[0].decode("latin-1"), headers)
            if refused is not None:
                self._refuse(refused)
                return
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers:
            self._chunked = True
            if headers[b"transfer-encoding"].strip().lower() != b"chunked":
                self._refuse(refusal(501, "of the transfer codings only `chunked` is known", close=True))
                return
        else:
            self._head_bytes = 0
        if length:
            declared = int(length)  # the parser has seen to it that it is a number
            if declared > self._limits.body_bytes:
                self._refuse(self._too_large())
                return
            self.deadline += declared / self._limits.body_rate
        if b"expect" in headers and not self._busy:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._chunked:
            self._head_bytes -= len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(self._too_large())
        elif not self._refused:
            self._body.append(body)
            if self._body_bytes > SMALL_BYTES:
                self._count_body(len(body))

    def on_message_complete(self) -> None:
        self._receiving = False
        if self._chunked:
            self._head_bytes = 0
        if self._refused:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        now = monotonic()
        self.deadline = now + self._limits.idle_s
        headers = self._headers
        path = self._url.partition(b"?")[0].decode("latin-1")
        # Most requests are so, and nothing else need be asked of them.
        keeps_alive = (
            path[:1] == "/"
            and b"host" in headers
            and b"connection" not in headers
            and b"upgrade" not in headers
            and self._parser.should_keep_alive()
        )
        if not keeps_alive:
            keeps_alive = self._keeps_alive()
            refused, path = self._odd(path)
            if refused is not None:
                self._refuse(refused)
                return
        request = Request(self._parser.get_method().decode("ascii"), path, headers, body, keeps_alive, now)
        if self._task is not None or self._pending or not self._writable:
            self._wait(request)
        else:
            self._start(request)

    def _odd(self, path: str) -> tuple[Response | None, str]:
        """What is wrong with a request that is not like most, or None; and the path that it means."""
        version = self._parser.get_http_version()
        if version not in VERSIONS:
            return refusal(505, f"HTTP/{version} is not spoken here", close=True), path
        if version == "1.0" and self._chunked:
            return refusal(400, "HTTP/1.0 has no Transfer-Encoding", close=True), path
        if version == "1.1" and b"host" not in self._headers:
            return refusal(400, "the request has no Host header", close=True), path
        if path.lower().startswith(("http://", "https://")):
            return None, "/" + path.partition("://")[2].partition("/")[2]
        return None, path

    def _check_framing(self) -> None:
        """More has come than a head may have, and it is no body of a declared length."""
        if self._in_head or not self._receiving:
            self._refuse(refusal(431, "the request's head is too large", close=True))
        elif self._chunked and self._head_bytes > (
            self._limits.head_bytes + self._body_bytes // FRAMING_SHARE
        ):
            self._refuse(refusal(431, "the body's chunks are mostly no data", close=True))

    def _count_body(self, count: int) -> None:
        """The body is no small one any more: all of it counts."""
        first = self._body_bytes - count <= SMALL_BYTES
        self._server.budget.take(self, self._body_bytes if first else count)

    # --- requests in their order

    def _wait(self, request: Request) -> None:
        """Have it wait until those before it are answered."""
        if len(request.body) <= SMALL_BYTES:
            self._server.budget.take(self, len(request.body))
        self._pending.append(request)
        if len(self._pending) >= PIPELINED:
            self._read(False)

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
        if self._refused or self._transport.is_closing():
            return
        self._refused = True
        if self._receiving and self._body_bytes > SMALL_BYTES:
            self._server.budget.give_back(self, self._body_bytes)
        self._body = []
        if self._busy:
            self._pending.append(response)
        else:
            self._write(response, head_only=False)

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
        if self._server.parking and self.idle:
            self.park()
        elif self._writable and len(self._pending) < PIPELINED and not self._server.parking:
            self._read(True)

    def _write(self, response: Response, *, head_only: bool) -> None:
        self._transport.write(rendered(response, head_only))
        if response.close:
            self._refused = True
            self._pending.clear()
            if self._receiving and not self._transport.is_closing():
                self._linger()
            else:
                self._transport.close()

    def _linger(self) -> None:
        """Take what the client still sends, and throw it away, until it has read the answer or its time is over."""
        self.deadline = monotonic() + LINGER_S
        if self._transport.can_write_eof():
            self._transport.write_eof()

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
        elif self._receiving and not self._refused:
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

    def shed(self) -> None:
        """Make room for another client."""
        self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    @property
    def can_yield(self) -> bool:
        """Whether it holds more than the one request that its model is at work on."""
        return bool(self._body or self._pending) or not self._writable

    def yield_memory(self) -> None:
        """Give back what it holds: all connections together hold too much, and this one most."""
        if self._body and not self._busy:
            self._refuse(
                refusal(503, "too many large requests at once", close=True, retry_after_s=RETRY_AFTER_S)
            )
        else:
            self._server.budget.give_back(self, self.held)
            self._refused = True
            self._body = []
            self._pending.clear()
            self._transport.abort()

    def handle(self) -> int:
        """The socket's number."""
        return int(self._transport.get_extra_info("socket").fileno())


async def _awaited(outcome: Awaitable[Response]) -> Response:
    return await outcome
