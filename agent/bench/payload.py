"""The request that is sent again and again: random tensors, always the same ones, or a picture.

The rule: a load needs no data of the user's. What it costs to run a model does not depend on its values, but for a few
that stop early.
"""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from agent.contract.errors import RequestInvalid

JSON = "json"
BINARY = "binary"
IMAGE = "image"
FORMATS: Mapping[str, str] = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""Letters of `struct` for the protocol's element types."""
SIDE = 224
"""Of the picture, in pixels."""


def random_request(inputs: Sequence[Mapping[str, Any]]) -> bytes:
    """One sample of random numbers for inputs as the metadata tells them, as a JSON body."""
    tensors = [
        {
            "name": tensor["name"],
            "datatype": tensor["datatype"],
            "shape": _shape(tensor),
            "data": _values(tensor),
        }
        for tensor in inputs
    ]
    return json.dumps({"inputs": tensors}, separators=(",", ":")).encode()


def binary_request(inputs: Sequence[Mapping[str, Any]]) -> tuple[bytes, int]:
    """The same sample in the binary tensor extension, answered in it too: the body, and the length of its JSON part."""
    tensors, raw = [], []
    for tensor in inputs:
        values = _values(tensor)
        raw.append(struct.pack(f"<{len(values)}{FORMATS[tensor['datatype']]}", *values))
        tensors.append(
            {
                "name": tensor["name"],
                "datatype": tensor["datatype"],
                "shape": _shape(tensor),
                "parameters": {"binary_data_size": len(raw[-1])},
            }
        )
    document = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    head = json.dumps(document, separators=(",", ":")).encode()
    return b"".join([head, *raw]), len(head)


def picture(side: int = SIDE) -> bytes:
    """A square PNG of random colours in smooth waves, 8 bits RGB."""
    chance = random.Random(0)  # noqa: S311 - a load, no secret
    phases = [chance.random() * math.tau for _ in range(6)]
    rows = bytearray()
    for y in range(side):
        rows.append(0)
        for x in range(side):
            for across, down in zip(phases[:3], phases[3:]):  # noqa: B905 - three each
                wave = math.sin(across + x / 9) + math.sin(down + y / 7)
                rows.append(min(255, max(0, round(127 + 60 * wave + chance.gauss(0, 4)))))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _shape(tensor: Mapping[str, Any]) -> list[int]:
    return [max(length, 1) for length in tensor["shape"]]


def _values(tensor: Mapping[str, Any]) -> list[Any]:
    """Real numbers 0 to 1, integers 0 to 100."""
    datatype, count = tensor["datatype"], math.prod(_shape(tensor))
    if datatype not in FORMATS:
        raise RequestInvalid(
            reason=f"input `{tensor['name']}` is {datatype}: no random values are known for it"
        )
    chance = random.Random(0)  # noqa: S311 - a load, no secret
    if datatype.startswith("FP"):
        return [round(chance.random(), 4) for _ in range(count)]
    if datatype == "BOOL":
        return [chance.random() < 0.5 for _ in range(count)]
    return [chance.randrange(100) for _ in range(count)]
