"""What takes bytes from outside: each parser of the agent as a function of bytes that must not fail.

The rule: whatever comes is answered, or refused as the protocol says: `{"error": ...}` with a status below 500, or an
error of our own tree. Anything else is a finding and leaves the function as an exception.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from agent.contract.codec import decode
from agent.contract.door import DoorConfig
from agent.contract.errors import EdgeError, ImageError, RequestInvalid
from agent.contract.link import LinkConfig
from agent.link import reading
from agent.link.message import Message
from agent.serving.encodings import inflated
from agent.serving.http import Budget, Connections, Limits
from agent.serving.messages import Request, Response
from agent.serving.routes import Routes
from agent.transforms import images
from tests.agent.boards import TestBoard
from tests.agent.routing import routes_of

Parser = Callable[[bytes], None]

MODELS = ("digits", "small", "two")
LIMITS = Limits(head_bytes=2048, headers=32, body_bytes=4096)
REFUSALS = {400, 404, 405, 411, 413, 415, 431, 501, 505}
SAID_BY_TRITON = b"Shape does not match true shape of 'data' field"
"""With status 500, which clients know from there."""
MOST_INFLATED = 1 << 16


def parsers(folder: Path) -> dict[str, Parser]:
    """All of them, by name; models and whatever else they need are made in `folder`."""
    board = TestBoard(folder / "board")
    routes = routes_of(
        board, {"digits": board.digits_onnx(), "small": board.digits_int8(), "two": board.sum_and_product()}
    )
    return {
        "http": _http,
        "v1": lambda data: _infer(routes, "/v1/models/{}:predict", data),
        "v2": lambda data: _infer(routes, "/v2/models/{}/infer", data),
        "v2-binary": lambda data: _binary(routes, data),
        "paths": lambda data: _paths(routes, data),
        "mqtt": lambda data: _mqtt(routes, data),
        "images": _image,
        "encodings": _encoding,
        "documents": _document,
    }


# --- HTTP, from the first byte on


class Wire(asyncio.Transport):
    """A transport without a socket: what was written stays here."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.ended = False

    def write(self, data: Any) -> None:
        assert not self.ended, "it wrote after its own end"
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


class Loop:
    """Of an event loop what a connection needs to be made."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Time does not pass."""


def _http(data: bytes) -> None:
    """Bytes of a client, in pieces whose length the first byte says."""
    budget = Budget(64 * 1024)
    connections = Connections(cast(Any, Loop()), _echo, LIMITS, budget)
    connection, wire = connections.new(), Wire()
    connection.connection_made(wire)
    step = (data[0] if data else 0) * 4 + 1
    for start in range(1, len(data), step):
        if wire.closed:
            break
        connection.data_received(data[start : start + step])
    if not wire.closed:
        connection.eof_received()
    connection.connection_lost(None)
    assert (budget.held, connection.held, len(connections)) == (0, 0, 0), "something is still held"
    _check_answers(wire)


def _echo(request: Request) -> Response:
    assert len(request.body) <= LIMITS.body_bytes
    assert len(request.headers) <= LIMITS.headers
    return Response(200, b'{"length":%d}' % len(request.body))


def _check_answers(wire: Wire) -> None:
    """Whole answers and nothing else, and after one that ends the connection no other."""
    rest, closes = wire.written, False
    while rest:
        assert not closes, "it answered after it had ended the connection"
        head, _, body = rest.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ")[1])
        if status == 100:
            rest = body
            continue
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        length = int(headers[b"content-length"])
        closes = headers.get(b"connection") == b"close"
        if body[:length].startswith(b"{"):
            _check_status(status, body[:length])
            body = body[length:]
        rest = body


def _check_status(status: int, body: bytes) -> None:
    assert status == 200 or status in REFUSALS, f"status {status}: {body[:200]!r}"
    said = json.loads(body)
    assert status == 200 or (isinstance(said, dict) and isinstance(said.get("error"), str)), said


# --- the protocols, behind it


def _ask(
    routes: Routes, path: str, body: bytes, headers: Mapping[bytes, bytes], method: str = "POST"
) -> None:
    answer = routes(Request(method, path, headers, body, True, math.inf))
    assert isinstance(answer, Response), "it was not answered at once"
    if answer.status != 200 and SAID_BY_TRITON not in answer.body:
        _check_status(answer.status, answer.body)
        assert str(Path(__file__).parents[2]).encode() not in answer.body, "a path of the board is told"


def _infer(routes: Routes, path: str, data: bytes) -> None:
    """A body for the model that the first byte chooses."""
    _ask(routes, path.format(MODELS[(data[0] if data else 0) % 3]), data[1:], {})


def _binary(routes: Routes, data: bytes) -> None:
    """Two bytes say how long the JSON before the tensors is; 0xffff: nothing says so."""
    length = int.from_bytes(data[1:3], "little")
    headers = {} if length == 0xFFFF else {b"inference-header-content-length": b"%d" % length}
    _ask(routes, f"/v2/models/{MODELS[(data[0] if data else 0) % 3]}/infer", data[3:], headers)


def _paths(routes: Routes, data: bytes) -> None:
    """A path; nothing that loads, which would take another thread."""
    path = "/" + data[1:200].decode("latin-1")
    if "repository/models" not in path and "%" not in path:
        _ask(routes, path, b"", {}, ("GET", "POST", "HEAD", "PUT")[(data[0] if data else 0) % 4])


def _mqtt(routes: Routes, data: bytes) -> None:
    """A payload, with the properties that the first byte chooses."""
    flags, payload = (data[0] if data else 0), data[1:]
    kinds = (None, "application/json", "application/octet-stream", "image/png")
    said = {}
    if flags & 4:
        said["inference-header-content-length"] = payload[:3].decode("latin-1")
    if flags & 8:
        said["model-version"] = payload[:2].decode("latin-1")
    message = Message("t", payload, content_type=kinds[flags & 3], said=said)
    try:
        question = reading.question(message, MODELS[flags >> 4 & 1], 0.0)
    except EdgeError:
        return
    if not question.path.startswith("/edge/"):  # pictures are decoded in a thread; `images` tries them
        _ask(routes, question.path, question.body, question.headers)


def _image(data: bytes) -> None:
    try:
        picture = images.decode(data, wanted=32 if len(data) % 2 else 0)
    except ImageError:
        return
    assert picture.pixels.ndim == 3
    assert picture.pixels.shape[2] in (1, 3)


def _encoding(data: bytes) -> None:
    encoding = b"gzip" if (data[0] if data else 0) % 2 else b"deflate"
    try:
        plain = inflated(data[1:], encoding, MOST_INFLATED)
    except RequestInvalid:
        return
    assert plain is None or len(plain) <= MOST_INFLATED


def _document(data: bytes) -> None:
    kind: type[Any] = (DoorConfig, LinkConfig)[(data[0] if data else 0) % 2]
    try:
        decode(kind, data[1:])
    except EdgeError:
        return
