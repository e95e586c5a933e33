"""Bodies that are compressed: both ways, for each protocol, and bombs among them."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Awaitable
from typing import Any

import pytest

from agent.serving.encodings import Encodings, preferred
from agent.serving.messages import Request, Response
from tests.agent.routing import answered

LIMIT = 1 << 20


def asked(body: bytes, answer: bytes = b"ok", **headers: str) -> tuple[Response, list[bytes]]:
    """Ask through `Encodings`: the answer, and the bodies that the handler saw."""
    seen: list[bytes] = []

    def handler(request: Request) -> Response:
        seen.append(request.body)
        return Response(200, answer)

    async def run() -> Response:
        named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return await answered(Encodings(LIMIT)(Request("POST", "/", named, body, True, 0.0), handler))

    return asyncio.run(run()), seen


@pytest.mark.parametrize("size", [0, 10, 100_000, LIMIT])
def test_a_body_is_taken_apart_before_anybody_reads_it(size: int) -> None:
    plain = bytes(size)

    assert asked(gzip.compress(plain), content_encoding="gzip")[1] == [plain]
    assert asked(zlib.compress(plain), content_encoding="Deflate")[1] == [plain]
    assert asked(plain, content_encoding="identity")[1] == [plain]


def test_a_bomb_stops_at_the_limit_of_bodies() -> None:
    bomb = gzip.compress(bytes(200 * LIMIT))
    tracemalloc.start()
    answer, seen = asked(bomb, content_encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (answer.status, seen) == (413, [])
    assert peak < 6 * LIMIT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no gzip", "the request's body is not in the encoding 'gzip'"),
        (gzip.compress(b"cut")[:-1], "the request's body ends early"),
        (gzip.compress(b"one") + b"more", "the request's body holds more than one stream"),
        (b"", "the request's body ends early"),
    ],
    ids=["no gzip", "cut", "two", "nothing"],
)
def test_what_is_not_what_it_says_is_refused(body: bytes, words: str) -> None:
    from agent.contract.errors import RequestInvalid

    with pytest.raises(RequestInvalid, match=words):
        asked(body, content_encoding="gzip")


def test_an_encoding_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    answer, seen = asked(b"x", content_encoding="br")

    assert (answer.status, json.loads(answer.body), seen) == (
        415,
        {"error": "Unsupported compression type"},
        [],
    )
    assert dict(answer.headers)[b"Accept-Encoding"] == b"gzip, deflate"


@pytest.mark.parametrize("size", [2_000, 200_000])
def test_a_long_answer_is_compressed_where_the_client_asks(size: int) -> None:
    plain = bytes(size)

    for encoding, apart in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        answer = asked(b"", plain, accept_encoding=f"br, {encoding}")[0]
        assert dict(answer.headers)[b"Content-Encoding"] == encoding.encode()
        assert len(answer.body) < size // 10
        assert apart(answer.body) == plain
    assert asked(b"", plain, accept_encoding="br")[0].body == plain
    assert asked(b"", b"short", accept_encoding="gzip")[0].body == b"short"


def test_an_answer_that_comes_later_is_compressed_too() -> None:
    async def later(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(200, bytes(2000))

    async def run() -> Response:
        outcome: Any = Encodings(LIMIT)(
            Request("POST", "/", {b"accept-encoding": b"gzip"}, b"", True, 0.0), later
        )
        assert isinstance(outcome, Awaitable)
        return await outcome

    assert gzip.decompress(asyncio.run(run()).body) == bytes(2000)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (b"", None), (b"gzip", b"gzip"), (b"gzip, deflate", b"gzip"), (b"deflate, gzip;q=0.5", b"deflate"),
        (b"gzip;q=0", None), (b"identity, gzip", None), (b"gzip;q=0.5, deflate ;q=0.6", b"deflate"), (b"*", None),
        (b"gzip;q=x, deflate", b"deflate"), (b";q=1,,gzip", b"gzip"), (b"GZIP", b"gzip"),
    ],
)  # fmt: skip
def test_what_a_client_prefers(header: bytes, wanted: bytes | None) -> None:
    assert preferred(header) == wanted
