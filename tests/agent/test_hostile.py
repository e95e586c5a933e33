"""The table of hostile inputs: what a real agent answers to each, and that nobody else notices.

Each row is sent by a client of its own; meanwhile another one, on a connection that stays open, gets the right answer.
At the end the agent has no more descriptors and hardly more memory than before. Slow clients are tried with short
limits in `test_connections.py`, floods of thousands in `test_floods.py`.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.boards import digits
from tests.agent.conftest import RunningAgent

INFER = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\n"
V2 = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"
PREDICT = "/v1/models/digits:predict"
ROW = json.dumps({"instances": digits(1).tolist()})
MOST_MORE_BYTES = 48 * 1024 * 1024
"""Of memory after all rows: what Python and the allocator keep for the next request."""


def sized(head: bytes, body: bytes, declared: int | str | None = None) -> bytes:
    return head + f"Content-Length: {len(body) if declared is None else declared}\r\n\r\n".encode() + body


BOMB = gzip.compress(bytes(64 << 20), 9)
ROWS: dict[str, tuple[bytes, int | None]] = {
    # --- two readers could understand it in two ways
    "a length and chunks": (sized(INFER + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "chunks and a length": (INFER + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (INFER + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "the same length twice": (INFER + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (sized(INFER, b"abc", "3, 3"), 400),
    "a negative length": (sized(INFER, b"", -1), 400),
    "a length with a sign": (sized(INFER, b"abc", "+3"), 400),
    "a length in hexadecimal": (sized(INFER, b"abc", "0x3"), 400),
    "a length of two words": (sized(INFER, b"abc", "1 0"), 400),
    "an empty length": (sized(INFER, b"", ""), 400),
    "a length beyond 64 bits": (sized(INFER, b"", "9" * 30), 400),
    "another coding than chunked": (INFER + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "another coding before chunked": (INFER + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "another coding in a header of its own": (
        INFER + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked twice": (INFER + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "nearly chunked": (INFER + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked after a tabulator": (INFER + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "a blank before the colon": (INFER + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks under HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a header over two lines": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "a line that begins with a blank": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "lines that end with LF alone": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "lines that end with CR alone": (GET + b"A: b\rC: d\r\n\r\n", 400),
    "a NUL in a header": (GET + b"A: \0\r\n\r\n", 400),
    "a NUL in the path": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a header without a name": (GET + b": x\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    # --- chunks
    "a chunk with an extension": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", 405),
    "a chunk with an endless extension": (CHUNKED + b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n0\r\n\r\n", 431),
    "a chunk without a length": (CHUNKED + b"zz\r\n", 400),
    "a chunk of a negative length": (CHUNKED + b"-3\r\nabc", 400),
    "a chunk beyond 64 bits": (CHUNKED + b"f" * 17 + b"\r\n", 400),
    "chunks of one byte each": (CHUNKED + b"1\r\na\r\n" * 20_000, 431),
    "trailers without end": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 10_000, 431),
    "a trailer that gives a length": (CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
    # --- other protocols
    "HTTP/0.9": (b"GET /\r\n\r\n", None),
    "HTTP/0.9 by name": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "HTTP/2 by name": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3 by name": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 400),
    "an upgrade to HTTP/2": (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n", 200),
    "a websocket": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello", 200),
    "a TLS hello": (bytes.fromhex("16030100c8010000c40303") + bytes(190), 400),
    "an SSH greeting": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "a proxy's CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 404),
    "a proxy's path": (b"GET http://a/v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    "a method of another protocol": (b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "nothing but line ends": (b"\r\n" * 20_000, 431),
    "noise": (bytes(range(256)) * 40, 400),
    # --- too much
    "a long path": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "a long header": (GET + b"A: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "a header without end": (GET + b"A: " + b"a" * 200_000, 431),
    "many headers": (GET + b"".join(b"h%d: v\r\n" % number for number in range(200)) + b"\r\n", 431),
    "a large body": (sized(INFER, b"", 1 << 40), 413),
    "more than was declared": (sized(INFER, b"[1]garbage", 3), 400),
    "much after the end": (GET + b"Connection: close\r\n\r\n" + b"a" * 100_000, 200),
    # --- bodies
    "deep JSON": (sized(V2, b"[" * 100_000), 400),
    "deep JSON that ends": (sized(INFER, b'{"instances":' + b"[" * 9000 + b"]" * 9000 + b"}"), 400),
    "a number of a megabyte": (sized(INFER, b'{"instances":[[' + b"1" * 1_000_000 + b"]]}"), 400),
    "half of a surrogate": (sized(INFER, b'{"instances":["\\ud800"]}'), 400),
    "a gzip bomb": (sized(V2 + b"Content-Encoding: gzip\r\n", BOMB), 413),
    "no gzip": (sized(V2 + b"Content-Encoding: gzip\r\n", b"abc"), 400),
    "an unknown encoding": (sized(V2 + b"Content-Encoding: br\r\n", b"abc"), 415),
    "a JSON length beyond the body": (sized(V2 + b"Inference-Header-Content-Length: 99\r\n", b"{}"), 400),
    "two JSON lengths": (sized(V2 + b"Inference-Header-Content-Length: 1\r\n" * 2, b"{}"), 400),
}


class Other:
    """A client that behaves, on a connection that stays open."""

    def __init__(self, agent: RunningAgent) -> None:
        self._connection = agent.connect()
        self._expected = self._ask()
        self._socket = self._connection.sock

    def _ask(self) -> object:
        self._connection.request("POST", PREDICT, ROW)
        answer = self._connection.getresponse()
        assert answer.status == 200
        return json.loads(answer.read())

    def is_served(self) -> bool:
        return self._ask() == self._expected and self._connection.sock is self._socket


def descriptors(agent: RunningAgent) -> int:
    return len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))


def memory(agent: RunningAgent) -> int:
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.fixture(scope="module")
def other(served: RunningAgent) -> Other:
    return Other(served)


@pytest.fixture(scope="module", autouse=True)
def everything_comes_back(served: RunningAgent, other: Other) -> Iterator[None]:
    files, used = descriptors(served), memory(served)
    yield
    assert other.is_served()
    end = time.monotonic() + 10
    while descriptors(served) > files and time.monotonic() < end:
        time.sleep(0.05)
    assert descriptors(served) <= files + 1  # a thread that takes bodies apart may have been started
    assert memory(served) < used + MOST_MORE_BYTES
    assert "Traceback" not in served.log.read_text()


def said(agent: RunningAgent, data: bytes) -> bytes:
    """All that the agent says to this until it ends the connection, or is heard to have answered."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=30) as client:
        with contextlib.suppress(OSError):  # it was answered before all was sent
            client.sendall(data)
        client.settimeout(3.0)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := client.recv(65536):
                found += part
                if found.endswith(b"}") or b"Content-Length: 0\r\n" in found:
                    break
        return found


@pytest.mark.parametrize("row", ROWS)
def test_what_is_hostile_gets_its_answer_and_others_theirs(
    served: RunningAgent, other: Other, row: str
) -> None:
    data, status = ROWS[row]

    answer = said(served, data)

    assert other.is_served()
    if status is None:
        assert b" 200 " not in answer
        return
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    if status != 200:
        document, _ = json.JSONDecoder().raw_decode(answer.partition(b"\r\n\r\n")[2].decode())
        assert isinstance(document["error"], str)


def test_an_answer_tells_no_path_and_no_module(served: RunningAgent) -> None:
    for data, _ in list(ROWS.values())[::8]:
        answer = said(served, data)
        for word in (b"/home", b"/tmp", b".py", b"Traceback", str(served.board.root).encode()):
            assert word not in answer


def test_a_connection_after_a_refusal_is_a_new_one(served: RunningAgent) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("POST", PREDICT, b"", {"Content-Length": str(1 << 40)})
    answer = connection.getresponse()
    assert (answer.status, answer.will_close) == (413, True)
    answer.read()
    connection.request("POST", PREDICT, ROW)
    assert connection.getresponse().status == 200
    connection.close()
