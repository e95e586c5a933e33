"""From JSON values to the array of one input, whose element type and rank are known beforehand.

The rule: strict, and nothing is guessed. `true` is no number, a string neither, a fraction no integer; a list that is
ragged, too short or too deep is no tensor; a number that the type can't hold is refused and never becomes Infinity.
What is right is packed in one go; only what `struct` refused is gone through, to say what is wrong with it.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from agent.contract.errors import RequestInvalid
from agent.contract.manifest import TensorSpec
from agent.serving.tensors import Array, check_finite

_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
    "uint64": "Q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
_PACKING: Mapping[str, tuple[str, np.dtype[Any]]] = {
    dtype: (code, np.dtype(dtype)) for dtype, code in _CODES.items()
}
_WANTED = {"f": "numbers", "i": "integers", "u": "integers", "b": "true and false"}
_TYPES: Mapping[str, frozenset[type]] = {
    "f": frozenset({int, float}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "b": frozenset({bool}),
}


Pictures = Callable[[Sequence[bytes]], "Array | None"]
"""Makes a batch of the files of pictures; None where the bytes are no such files."""
B64 = b'"b64"'


def holds_booleans(body: bytes) -> bool:
    """Whether `true` or `false` stands anywhere in a request: `struct` would take them for 1 and 0.

    No number has an `r` or an `l`, and neither has NaN or Infinity: most requests are decided by one look for a byte.
    """
    return (b"r" in body and b"true" in body) or (b"l" in body and b"false" in body)


def tensor(
    data: Any, spec: TensorSpec, dtype: str, *, booleans: bool = False, pictures: Pictures | None = None
) -> Array:
    """The array `[N, ...]` of one input.

    Args:
        data: nested lists of the whole batch; `{"b64": "..."}` may stand for the batch, or for each of its samples.
        spec: of the input.
        dtype: its element type as clients see it.
        booleans: whether there may be some among the data.
        pictures: where bytes may be pictures.

    Raises:
        RequestInvalid: they are not the values of such an array.
    """
    packing = None if booleans else _PACKING.get(dtype)
    found = None if packing is None else _packed(data, spec.shape[1:], *packing)
    if found is None:
        found = _bytes(data, spec, dtype, pictures) if _is_bytes(data) else _checked(data, spec, dtype)
    if dtype != spec.dtype:
        check_finite(found, spec.name, spec.dtype)
    return found


def _packed(rows: Any, told: Sequence[int], code: str, dtype: np.dtype[Any]) -> Array | None:
    """The array, or None where the rows are not what they should be."""
    try:
        shape = [len(rows)]
        for wanted in told:
            length = len(rows[0]) if wanted == -1 else wanted
            if {*map(len, rows)} != {length}:
                return None
            shape.append(length)
            rows = rows[0] if len(rows) == 1 else [*chain.from_iterable(rows)]
        packed = struct.pack(f"<{len(rows)}{code}", *rows)
    except (TypeError, LookupError, struct.error, OverflowError):
        return None
    return np.frombuffer(packed, dtype).reshape(shape) if shape[0] else None


def _checked(data: Any, spec: TensorSpec, dtype: str) -> Array:
    """The same, slowly, and with words for the first thing that is wrong."""
    wanted = np.dtype(dtype)
    shape = _shape(data)
    told = spec.shape[1:]
    fits = len(shape) == len(spec.shape) and shape[0] > 0
    if not fits or any(want not in (-1, length) for length, want in zip(shape[1:], told)):  # noqa: B905 - as above
        raise RequestInvalid(
            reason=f"input '{spec.name}' must have the shape {[-1, *told]}, found {list(shape)}"
        )
    values = list(_leaves(data, shape, spec.name))
    if not _TYPES[wanted.kind].issuperset(map(type, values)):
        raise RequestInvalid(reason=f"`{spec.name}` must hold {_WANTED[wanted.kind]}")
    if wanted.kind == "b":
        return np.array(values, wanted).reshape(shape)
    try:
        packed = struct.pack(f"<{len(values)}{_CODES[dtype]}", *values)
    except (struct.error, OverflowError) as error:
        raise RequestInvalid(reason=f"`{spec.name}` holds numbers that {dtype} can't") from error
    return np.frombuffer(packed, wanted).reshape(shape)


def _shape(data: Any) -> tuple[int, ...]:
    """By the first list of each level."""
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        data = data[0] if data else None
    return tuple(shape)


def _leaves(data: Any, shape: Sequence[int], name: str) -> Iterator[Any]:
    if not shape:
        yield data
        return
    if not isinstance(data, list) or len(data) != shape[0]:
        raise RequestInvalid(reason=f"`{name}` is ragged: a list of {shape[0]} is missing")
    for value in data:
        if len(shape) == 1 and isinstance(value, list):
            raise RequestInvalid(reason=f"`{name}` is ragged: a list stands where a value should")
        yield from _leaves(value, shape[1:], name)


def _is_bytes(data: Any) -> bool:
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, dict)


def _bytes(data: Any, spec: TensorSpec, dtype: str, pictures: Pictures | None) -> Array:
    """The array whose bytes stand in base64: little-endian, row-major, of the whole batch or of each sample; or the
    batch of the pictures whose files these are."""
    samples = [decoded(value, spec.name) for value in (data if isinstance(data, list) else [data])]
    decoded_pictures = pictures(samples) if pictures is not None else None
    if decoded_pictures is not None:
        return decoded_pictures
    told = spec.shape[1:]
    if -1 in told:
        raise RequestInvalid(
            reason=f"input '{spec.name}' has samples of any length: bytes don't tell their shape"
        )
    sample_bytes = math.prod(told) * np.dtype(dtype).itemsize
    if isinstance(data, list):
        fits = all(len(sample) == sample_bytes for sample in samples)
    else:
        fits = bool(samples[0]) and len(samples[0]) % sample_bytes == 0
    if not fits:
        raise RequestInvalid(
            reason=f"input '{spec.name}' takes {sample_bytes} bytes a sample: {dtype} {list(told)}"
        )
    values = b"".join(samples)
    if dtype == "bool" and values.strip(b"\0\1"):
        raise RequestInvalid(reason=f"`{spec.name}` must hold true and false: bytes of 1 and 0")
    return np.frombuffer(values, dtype).reshape(-1, *told)


def decoded(value: Any, name: str) -> bytes:
    """The bytes that stand in `{"b64": "..."}`.

    Raises:
        RequestInvalid: it is no such object.
    """
    text = value.get("b64") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(text, str):
        raise RequestInvalid(reason=f"`{name}` is not formatted correctly for base64 data")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestInvalid(reason=f"`{name}`: unable to base64 decode") from error
