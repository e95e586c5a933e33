"""Compressed bodies, gzip and deflate, both ways and for every protocol.

The rule: a compressed body costs no more than a plain one may: it is taken apart up to the limit of bodies and not a
byte further, one large one at a time, and not on the event loop. Of answers, those of models alone are compressed, and
only where the client asks for it and it gains: Triton's clients expect nothing else of a server.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.contract.errors import EdgeError, RequestInvalid
from agent.serving.messages import Request, Response, error_response, refusal, too_large
from agent.signals import leave_signals

Body = TypeVar("Body", bytes, "bytes | None")
Answer = Callable[[Request], "Response | Awaitable[Response]"]

WINDOWS: Mapping[bytes, int] = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
"""What zlib calls them; HTTP's deflate is zlib's own format."""
IDENTITY = b"identity"
SHORT_BYTES = 64 * 1024
"""What is compressed or taken apart on the event loop: a millisecond or two on a small board."""
LEAST_BYTES = 1024
"""A shorter answer would gain less than it costs."""
LEVEL = 1


class Encodings:
    """Bodies that come compressed, and answers that are to go so.

    Args:
        body_bytes: what a body may come to.
    """

    def __init__(self, body_bytes: int) -> None:
        self._limit = body_bytes
        self._worker: ThreadPoolExecutor | None = None
        self._one = asyncio.Lock()

    def __call__(self, request: Request, answer: Answer) -> Response | Awaitable[Response]:
        """Have a request answered that names an encoding.

        Args:
            request: as it came.
            answer: what answers it once it is plain.

        Raises:
            RequestInvalid: its body is not what it says. Where the answer comes later, nothing is raised.
        """
        accepted = preferred(request.headers.get(b"accept-encoding", b""))
        encoding = request.headers.get(b"content-encoding", IDENTITY).strip().lower()
        if encoding in (IDENTITY, b""):
            return self._packed(answer(request), accepted)
        if encoding not in WINDOWS:
            known = ((b"Accept-Encoding", b"gzip, deflate"),)
            return refusal(415, "Unsupported compression type")._replace(headers=known)
        body = inflated(request.body, encoding, SHORT_BYTES)
        if body is None:
            return self._later(request, encoding, accepted, answer)
        return self._packed(answer(_plain(request, body)), accepted)

    async def _later(
        self, request: Request, encoding: bytes, accepted: bytes | None, answer: Answer
    ) -> Response:
        try:
            async with self._one:
                body = await self._apart(inflated, request.body, encoding, self._limit)
                if body is None:
                    return too_large(self._limit)
                outcome = answer(_plain(request, body))
                del body
            packed = self._packed(outcome, accepted)
            return packed if isinstance(packed, Response) else await packed
        except EdgeError as error:
            return error_response(error)

    def _packed(
        self, outcome: Response | Awaitable[Response], accepted: bytes | None
    ) -> Response | Awaitable[Response]:
        if accepted is None:
            return outcome
        if not isinstance(outcome, Response):
            return self._packed_later(outcome, accepted)
        size = len(outcome.body)
        if outcome.status != 200 or size < LEAST_BYTES:
            return outcome
        if size <= SHORT_BYTES:
            return _encoded(outcome, deflated(outcome.body, accepted), accepted)
        return self._packed_apart(outcome, accepted)

    async def _packed_later(self, outcome: Awaitable[Response], accepted: bytes) -> Response:
        packed = self._packed(await outcome, accepted)
        return packed if isinstance(packed, Response) else await packed

    async def _packed_apart(self, response: Response, accepted: bytes) -> Response:
        return _encoded(response, await self._apart(deflated, response.body, accepted), accepted)

    def _apart(self, work: Callable[..., Body], *about: object) -> asyncio.Future[Body]:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "encodings", leave_signals)
        return asyncio.get_running_loop().run_in_executor(self._worker, work, *about)


def preferred(header: bytes) -> bytes | None:
    """The encoding that a client's `Accept-Encoding` puts first, or None for a plain answer."""
    best, weight = None, 0.0
    for item in header.lower().split(b","):
        name, _, quality = item.strip().partition(b";q=")
        try:
            value = float(quality or 1)
        except ValueError:
            continue
        name = name.strip()
        if value > weight and (name in WINDOWS or name == IDENTITY):
            best, weight = name, value
    return best if best in WINDOWS else None


def inflated(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """A body taken apart, or None where it would come to more than `limit` bytes.

    Raises:
        RequestInvalid: it is not in this encoding, ends early, or something stands behind its end.
    """
    stream = zlib.decompressobj(WINDOWS[encoding])
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error as error:
        name = encoding.decode()
        raise RequestInvalid(reason=f"the request's body is not in the encoding '{name}': {error}") from error
    if len(data) > limit:
        return None
    if not stream.eof or stream.unused_data:
        what = "holds more than one stream" if stream.eof else "ends early"
        raise RequestInvalid(reason=f"the request's body {what}")
    return data


def deflated(body: bytes, encoding: bytes) -> bytes:
    """A body in this encoding."""
    stream = zlib.compressobj(LEVEL, wbits=WINDOWS[encoding])
    return stream.compress(body) + stream.flush()


def _plain(request: Request, body: bytes) -> Request:
    return Request(
        request.method, request.path, request.headers, body, request.keep_alive, request.received,
        request.deadline, request.priority,
    )  # fmt: skip


def _encoded(response: Response, body: bytes, encoding: bytes) -> Response:
    more = ((b"Content-Encoding", encoding), (b"Vary", b"Accept-Encoding"))
    return response._replace(body=body, headers=(*response.headers, *more))
