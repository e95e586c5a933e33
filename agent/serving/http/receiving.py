"""One connection's requests as they come in: taken apart by httptools, within the limits, one after the other.

The rule: what a client may send is bounded in bytes, in count and in time, before it is kept. What two readers could
understand in two ways is refused, and ends the connection.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Protocol

import httptools

from agent.serving.http.limits import SMALL_BYTES, Limits
from agent.serving.http.roles import Admit
from agent.serving.messages import Request, Response, refusal, too_large

LOG = logging.getLogger("agent")
FRAMING_SHARE = 4
"""A chunked body's lengths and trailers may be one in so many of its bytes, beyond those of a head."""
VERSIONS = ("1.0", "1.1")


class Taker(Protocol):
    """Who answers what is received. `deadline`: monotonic seconds when the client's time is over."""

    deadline: float

    def take(self, request: Request) -> None:
        """Answer a whole request."""
        ...

    def refuse(self, response: Response) -> None:
        """Answer so, and read no more."""
        ...

    def encourage(self) -> None:
        """The client waits to be told that its body is wanted."""
        ...

    def count(self, more_bytes: int) -> None:
        """So much more of a body is kept; less where it is negative."""
        ...


class Receiver:
    """Takes apart what one client sends.

    Args:
        taker: of its requests. limits: of the client. admit: refuses by a request's head; None takes all.

    Attributes:
        receiving: a request has begun, and is not whole.
        stranger: no request has ever got past its head.
        refused: nothing more is taken.
    """

    def __init__(self, taker: Taker, limits: Limits, admit: Admit | None) -> None:
        self.receiving = self.refused = False
        self.stranger = True
        self._taker = taker
        self._limits = limits
        self._admit = admit
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._parsed_bytes = self._header_count = self._body_bytes = 0
        self._in_head = self._chunked = False

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        if self.refused:
            return
        if self._in_head or not self.receiving or self._chunked:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refuse()  # it was answered as if it had not asked; what follows is no HTTP
        except httptools.HttpParserCallbackError:  # not the client's fault, but ours
            LOG.exception("a request could not be taken")
            self._taker.refuse(refusal(500, "the agent failed on this request", close=True))
        except httptools.HttpParserError as error:
            self._taker.refuse(refusal(400, f"no valid HTTP request: {error}", close=True))
        if self._head_bytes > self._limits.head_bytes:
            self._check_framing()

    def refuse(self) -> None:
        """Take nothing more, and keep nothing of what has come."""
        self.refused = True
        if self.receiving and self._body_bytes > SMALL_BYTES:
            self._taker.count(-self._body_bytes)
        self._body, self._body_bytes = [], 0

    @property
    def holds(self) -> bool:
        """Whether a part of a body is here."""
        return bool(self._body)

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []
        self._parsed_bytes = self._header_count = self._body_bytes = 0
        self.receiving = self._in_head = True
        self._chunked = False
        self._taker.deadline = monotonic() + self._limits.receive_s

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
            self._taker.refuse(refusal(431, "the request has too many headers", close=True))

    def on_headers_complete(self) -> None:
        self._in_head = self.stranger = False
        if self.refused:
            return
        headers = self._headers
        if self._parsed_bytes > self._limits.head_bytes:
            self._taker.refuse(refusal(431, "the request's head is too large", close=True))
            return
        if self._admit is not None:
            refused = self._admit(self._url.partition(b"?")[0].decode("latin-1"), headers)
            if refused is not None:
                self._taker.refuse(refused)
                return
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers:
            self._chunked = True
            if headers[b"transfer-encoding"].strip().lower() != b"chunked":
                text = "of the transfer codings only `chunked` is known"
                self._taker.refuse(refusal(501, text, close=True))
                return
        else:
            self._head_bytes = 0
        if length:
            declared = int(length)  # the parser has seen to it that it is a number
            if declared > self._limits.body_bytes:
                self._taker.refuse(too_large(self._limits.body_bytes, close=True))
                return
            self._taker.deadline += declared / self._limits.body_rate
        if b"expect" in headers:
            self._taker.encourage()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._chunked:
            self._head_bytes -= len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._taker.refuse(too_large(self._limits.body_bytes, close=True))
        elif not self.refused:
            self._body.append(body)
            if self._body_bytes > SMALL_BYTES:
                # It is no small one any more: all of it counts.
                first = self._body_bytes - len(body) <= SMALL_BYTES
                self._taker.count(self._body_bytes if first else len(body))

    def on_message_complete(self) -> None:
        self.receiving = False
        if self._chunked:
            self._head_bytes = 0
        if self.refused:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        now = monotonic()
        self._taker.deadline = now + self._limits.idle_s
        headers, parser = self._headers, self._parser
        path = self._url.partition(b"?")[0].decode("latin-1")
        # Most requests are so, and nothing else need be asked of them.
        keeps_alive = (
            path[:1] == "/"
            and b"host" in headers
            and b"connection" not in headers
            and b"upgrade" not in headers
            and parser.should_keep_alive()
        )
        if not keeps_alive:
            keeps_alive = self._keeps_alive()
            refused, path = self._odd(path)
            if refused is not None:
                self._taker.refuse(refused)
                return
        self._taker.take(Request(parser.get_method().decode("ascii"), path, headers, body, keeps_alive, now))

    # --- what is rare

    def _keeps_alive(self) -> bool:
        parser = self._parser
        return bool(
            parser.should_keep_alive() and parser.get_http_version() == "1.1" and not parser.should_upgrade()
        )

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
        if self._in_head or not self.receiving:
            self._taker.refuse(refusal(431, "the request's head is too large", close=True))
        elif self._chunked and self._head_bytes > (
            self._limits.head_bytes + self._body_bytes // FRAMING_SHARE
        ):
            self._taker.refuse(refusal(431, "the body's chunks are mostly no data", close=True))
