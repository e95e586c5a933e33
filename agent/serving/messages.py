"""A request, an answer, and JSON between them: orjson, but for NaN and Infinity, which only the library's json has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from agent.contract.errors import (
    BoardStrained,
    EdgeError,
    ImageNotTaken,
    ImageTooLarge,
    ImageUnreadable,
    ModelLabelNotServed,
    ModelNotServed,
    ModelUnavailable,
    ModelVersionNotServed,
    Overloaded,
    RequestExpired,
    RequestInvalid,
    SoundRateOther,
    SoundUnreadable,
)

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"

STATUS: Mapping[type[EdgeError], int] = {
    RequestInvalid: 400,
    ModelLabelNotServed: 400,
    ModelNotServed: 404,
    ModelVersionNotServed: 404,
    ModelUnavailable: 404,
    ImageUnreadable: 400,
    ImageNotTaken: 400,
    ImageTooLarge: 413,
    SoundUnreadable: 400,
    SoundRateOther: 400,
    Overloaded: 503,
    BoardStrained: 503,
    RequestExpired: 504,
}
LARGE_BYTES = 512 << 10
"""Of JSON: what is shorter is not looked through before it is read. Longer JSON is looked through in such parts: no
other thread runs meanwhile."""
MOST_PARSED_BYTES = 32 << 20
"""That a request's JSON may come to when it is read: a million numbers. The parser lets no other thread run, and takes
a tenth of a second for so much on a small board."""
COSTS: Mapping[bytes, int] = {b",": 32, b'"': 16, b"[": 64, b"{": 256}
"""Bytes of memory that each such byte of JSON comes to: a value and its place, half a string, a list, an object."""
TOO_MANY_VALUES = "the request's JSON holds too many values: send large tensors as bytes"
RETRY_AFTER_S = 1
"""Where nobody knows better; an error's fact `retry_after_s` does."""


class Request:
    """One whole request.

    Attributes:
        method: in capitals. path: without the query. headers: names in lower case. body: all of it.
        keep_alive: whether the connection goes on after the answer. received: monotonic seconds of its last byte.
        deadline, priority: as `Served.run` takes them, where the request's own words say nothing else.
    """

    __slots__ = ("body", "deadline", "headers", "keep_alive", "method", "path", "priority", "received")

    def __init__(
        self,
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        body: bytes,
        keep_alive: bool,
        received: float,
        deadline: float | None = None,
        priority: int = 0,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.received = received
        self.deadline = deadline
        self.priority = priority


class Response(NamedTuple):
    """One whole answer. `close`: the connection ends with it."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


def json_response(document: Any, status: int = 200) -> Response:
    """An answer that holds no tensors."""
    return Response(status, orjson.dumps(document))


def refusal(status: int, text: str, *, close: bool = False, retry_after_s: int | None = None) -> Response:
    """An error in the form that all the protocols share, `{"error": "..."}`."""
    headers = ((b"Retry-After", str(retry_after_s).encode()),) if retry_after_s is not None else ()
    return Response(status, orjson.dumps({"error": text}), headers=headers, close=close)


def too_large(limit_bytes: int, *, close: bool = False) -> Response:
    """The body, plain, is longer than bodies may be here."""
    text = f"the request's body is too large: at most {limit_bytes} bytes are taken"
    return refusal(413, text, close=close)


def wrong_method(allowed: str) -> Response:
    """The path takes another method."""
    response = refusal(405, "Method Not Allowed")
    return response._replace(headers=((b"Allow", allowed.encode()),))


def error_response(error: EdgeError) -> Response:
    """What a client is told of an error of ours."""
    status = error.facts.get("status") or STATUS.get(type(error), 500)
    retry_after_s = error.facts.get("retry_after_s", RETRY_AFTER_S) if status in (429, 503) else None
    return refusal(int(status), str(error), retry_after_s=retry_after_s)


def parse_json(body: bytes) -> Any:
    """A request's JSON; NaN and Infinity are taken.

    Raises:
        RequestInvalid: it is none, or it would fill the board's memory: `[],` in three bytes is a list of 64.
    """
    if len(body) > LARGE_BYTES:
        _check_values(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            try:
                # A function of Python's for each number: other threads get their turn, though it takes longer.
                return json.loads(
                    body, parse_float=lambda text: float(text), parse_int=lambda text: int(text)
                )
            except (ValueError, RecursionError) as second:
                raise RequestInvalid(reason=f"failed to parse the request JSON buffer: {second}") from second
        raise RequestInvalid(
            reason=f"failed to parse the request JSON buffer: {error.msg} at {error.pos}"
        ) from error


def _check_values(body: bytes) -> None:
    parsed_bytes = 0
    for start in range(0, len(body), LARGE_BYTES):
        end = start + LARGE_BYTES
        parsed_bytes += sum(body.count(sign, start, end) * cost for sign, cost in COSTS.items())
        if parsed_bytes > MOST_PARSED_BYTES:
            raise RequestInvalid(reason=TOO_MANY_VALUES, status=413)


def tensor_json(document: Any) -> bytes:
    """An answer's JSON; arrays in it are written as lists, what is not finite as NaN and Infinity."""
    try:
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        body = b"null"
    # orjson writes null for what is not finite
    return json.dumps(document, default=_listed).encode() if b"null" in body else body


def _listed(value: Any) -> Any:
    return value.tolist()
