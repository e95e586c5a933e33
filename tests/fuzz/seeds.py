"""Where fuzzing begins: inputs that parsers take, and words that they know."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from agent.contract.codec import encode
from agent.contract.door import DoorConfig, Token
from agent.contract.link import LinkConfig

ROW = [round(i / 64, 3) for i in range(64)]
RAW = np.array([ROW], np.float32).tobytes()

V2 = {"id": "1", "inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": ROW}]}
V2_TWO = {
    "inputs": [
        {"name": "a", "shape": [1, 3], "datatype": "FP32", "data": [[1.5, -2, 3e38]]},
        {"name": "b", "shape": [1, 3], "datatype": "INT32", "data": [1, 2, 3]},
    ],
    "outputs": [{"name": "sum", "parameters": {"classification": 2, "binary_data": True}}],
    "parameters": {"timeout": 1000000, "priority": 1, "binary_data_output": True},
}
V2_BINARY = {
    "inputs": [
        {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": {"binary_data_size": len(RAW)}}
    ]
}
V1: list[object] = [
    {"instances": [ROW]},
    {"inputs": {"x": [ROW]}, "signature_name": "serving_default"},
    {"instances": [{"a": [1, 2, 3], "b": [1, 2, 3]}]},
    {"instances": [[float("nan")] * 64, [float("inf")] * 64]},
    {"instances": [{"x": {"b64": "AAAA"}}]},
]
HTTP = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nA: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na" * 3,
    b"HEAD http://x/y HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
]
WORDS = [
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r\n\r\n", b"\n", b"\r\n ", b"Content-Length: ", b"chunked",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: x\r\n",
    b"Host: x\r\n", b"POST ", b"GET ", b"CONNECT ", b"PRI * ", b"0\r\n\r\n", b"ffffffffffffffff", b"-1", b"4097",
    b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e999", b"[]", b"{}", b'""', b"[[", b"\\ud800",
    b"18446744073709551616",
    b'"shape"', b'"datatype"', b'"BYTES"', b'"BOOL"', b'"FP16"', b'"data"', b'"parameters"', b'"b64"',
    b'"binary_data_size"', b'"classification"', b'"outputs"', b'"instances"', b'"inputs"', b'"priority"',
    b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"\xff\xc0", b"\xff\xe1", b"\xff\xda", b"\xff\xd9",
]  # fmt: skip


def seeds() -> Mapping[str, Sequence[bytes]]:
    """Seeds of each parser, by its name."""
    v2 = [b"\0" + _json(V2), b"\1" + _json(V2), b"\2" + _json(V2_TWO)]
    head = _json(V2_BINARY)
    binary = [
        b"\0" + len(head).to_bytes(2, "little") + head + RAW,
        b"\0\0\0" + RAW,
        b"\2\xff\xff" + _json(V2_TWO),
    ]
    documents = [b"\0" + encode(_door()), b"\1" + encode(_link())]
    return {
        "http": [bytes([step]) + data for data in HTTP for step in (0, 1, 255)],
        "v1": [bytes([model]) + _json(body) for body in V1 for model in (0, 2)],
        "v2": v2,
        "v2-binary": binary,
        "paths": [
            bytes([method]) + path
            for path in (
                b"v2/models/digits/versions/1/ready",
                b"v1/models/digits/metadata",
                b"metrics",
                b"v2",
            )
            for method in (0, 1)
        ],
        "mqtt": [bytes([flags]) + data[1:] for data in (*v2, *binary) for flags in (0, 1, 2, 7, 9)],
        "images": _pictures(),
        "encodings": [
            b"\1" + gzip.compress(RAW, mtime=0),
            b"\0" + zlib.compress(RAW),
            b"\1" + gzip.compress(bytes(1 << 18), mtime=0),
        ],
        "documents": documents,
    }


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _door() -> DoorConfig:
    return DoorConfig(address="0.0.0.0", certificate="c", tokens=(Token("a", "ab" * 32),))


def _link() -> LinkConfig:
    return LinkConfig(collector="c", url="mqtts://127.0.0.1:8883", certificate="c")


def _pictures() -> list[bytes]:
    from PIL import Image

    found = []
    pixels = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)
    for kind in ("PNG", "JPEG"):
        for mode in ("RGB", "L", "P") if kind == "PNG" else ("RGB", "L", "CMYK"):
            file = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(file, kind)
            found.append(file.getvalue())
    return found
