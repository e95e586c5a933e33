"""The binary tensor extension: what stands in a body behind its JSON.

The rule: a tensor is a view of the request's own bytes, little-endian and row-major as on the wire, and is not copied
(that its first byte may lie on no multiple of its element does not matter to x86-64, arm64 and the engines). No size
that a client states is believed before the bytes were counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from agent.contract.errors import RequestInvalid
from agent.serving.tensors import DATATYPES, Array

HEADER = b"Inference-Header-Content-Length"
OCTETS = b"application/octet-stream"
DIGITS = 12
"""More of them are no length."""


class Datatype(NamedTuple):
    """How an element type of the protocol becomes that of an input.

    Attributes:
        name: the protocol's.
        dtype: numpy's, of numbers in JSON; None where JSON has none. wire: of the bytes.
        widened: what makes the input's type of it, or None where it is that.
        checked: the artifact stores integers instead, so that each number must be finite.
    """

    name: str
    dtype: str | None
    wire: np.dtype[Any]
    widened: Callable[[Array], Array] | None = None
    checked: bool = False


def datatypes(dtype: str, stored: str) -> Mapping[str, Datatype]:
    """What an input takes, by the protocol's names.

    Args:
        dtype: the element type that it is announced with, by numpy's name.
        stored: the one in the artifact.

    Returns:
        Those two, and for float32 the shorter floats, each of which is a float32, too.
    """
    checked = dtype != stored
    taken = [_plain(stored), _plain(dtype)._replace(checked=checked)]
    if dtype == "float32":
        taken.append(Datatype("FP16", "float16", np.dtype("float16"), _from_half, checked))
        taken.append(Datatype("BF16", None, np.dtype("uint16"), _from_bfloat, checked))
    return {datatype.name: datatype for datatype in taken}


def _plain(dtype: str) -> Datatype:
    if dtype == "bool":
        return Datatype("BOOL", dtype, np.dtype("uint8"), _from_octets)
    return Datatype(DATATYPES[dtype], dtype, np.dtype(dtype))


def _from_half(array: Array) -> Array:
    return array.astype(np.float32)


def _from_bfloat(array: Array) -> Array:
    """A bfloat16 is the upper half of a float32."""
    wide = array.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _from_octets(array: Array) -> Array:
    """What is not zero is true."""
    return np.not_equal(array, 0)


def json_length(header: bytes, body: bytes) -> int:
    """Bytes of JSON at the body's beginning, as the request's header says; 0 where there is none.

    Raises:
        RequestInvalid: that is no number, or more than the body has.
    """
    told = header.decode("latin-1")
    if not header.isdigit() or len(header) > DIGITS:
        raise RequestInvalid(reason=f"Unable to parse {HEADER.decode()}, got: {told}")
    length = int(header)
    if length > len(body):
        raise RequestInvalid(reason=f"inference header size should be in range (0, {len(body)}), got: {told}")
    return length


def from_body(datatype: Datatype, count: int, body: bytes, start: int) -> Array:
    """So many elements, whose bytes begin at `start` and were counted."""
    array = np.frombuffer(body, datatype.wire, count, start) if count else np.empty(0, datatype.wire)
    return array if datatype.widened is None else datatype.widened(array)


def bytes_tensor(elements: Iterable[bytes]) -> bytes:
    """A tensor of type `BYTES`: each element behind its length."""
    return b"".join([part for element in elements for part in (len(element).to_bytes(4, "little"), element)])
