"""Between JSON numbers and arrays. The one module of serving that knows numpy at import.

The rule: strict. A string is no number, a fraction no integer, a list that is ragged or too short no tensor; nothing
is padded, cut or rounded.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import RequestInvalid

Array = NDArray[Any]

DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""Element types as numpy and as the v2 protocol name them."""
DTYPES: Mapping[str, str] = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
    "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
DATA_SHAPE = "Unable to parse 'data': Shape does not match true shape of 'data' field"


def from_data(data: Any, dtype: str, shape: Sequence[int]) -> Array:
    """The array of a v2 input's `data`, flat or nested as its `shape`.

    Raises:
        RequestInvalid: the data are not of this type, or not as many.
    """
    if type(data) is not list:
        raise RequestInvalid(reason="Unable to parse 'data': it must be an array")
    values = _flat(data, shape) if data and type(data[0]) is list else data
    if len(values) != math.prod(shape):
        raise RequestInvalid(reason=DATA_SHAPE, status=500)
    code = _CODES.get(dtype)
    try:
        found = np.frombuffer(array(code, values), dtype) if code else _few(values, dtype)
    except (TypeError, OverflowError, struct.error) as error:
        raise RequestInvalid(reason=f"Unable to parse 'data': {error}") from error
    return found.reshape(shape)


def _flat(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The values of lists that are nested as this shape."""
    rows = [data]
    for length in shape:
        if any(type(row) is not list or len(row) != length for row in rows):
            raise RequestInvalid(reason=DATA_SHAPE, status=500)
        rows = [*chain.from_iterable(rows)]
    return rows


def _few(values: list[Any], dtype: str) -> Array:
    """Those element types that the library's `array` has none for. numpy is not asked to guess what the values are: for
    strings it would take as much for each as the longest needs."""
    if dtype == "float16":
        return np.frombuffer(struct.pack(f"<{len(values)}e", *values), dtype)
    if not {bool}.issuperset(map(type, values)):
        raise TypeError("must be true or false")
    return np.array(values, dtype)


def check_finite(values: Array, name: str, stored: str) -> None:
    """Refuse NaN and Infinity where the model stores integers.

    Raises:
        RequestInvalid: there are some.
    """
    if not np.isfinite(values).all():
        raise RequestInvalid(reason=f"input '{name}' holds NaN or Infinity, its tensor stores {stored}")


def contiguous(values: Array) -> Array:
    """The same values, as the JSON writer wants them in memory."""
    return np.ascontiguousarray(values)
