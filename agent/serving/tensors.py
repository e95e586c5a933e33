"""Between JSON numbers and arrays. The one module of serving that knows numpy at import.

The rule: strict. A string is no number, a fraction no integer, a list that is ragged or too short no tensor; nothing
is padded, cut or rounded.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
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
    count = math.prod(shape)
    code = _CODES.get(dtype)
    if isinstance(data, list) and len(data) == count and code and not (data and isinstance(data[0], list)):
        try:
            return np.frombuffer(array(code, data), dtype).reshape(shape)
        except (TypeError, OverflowError) as error:
            raise RequestInvalid(reason=f"Unable to parse 'data': {error}") from error
    found = nested(data, dtype, "data")
    if found.size != count or (found.ndim > 1 and found.shape != tuple(shape)):
        raise RequestInvalid(reason=DATA_SHAPE, status=500)
    return found.reshape(shape)


def nested(data: Any, dtype: str, name: str) -> Array:
    """The array of nested lists of numbers, whatever its shape.

    Raises:
        RequestInvalid: ragged, or not of this type.
    """
    try:
        found = np.array(data)
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(reason=f"`{name}` is ragged: {_first_line(error)}", status=400) from error
    wanted = np.dtype(dtype)
    kinds = {"f": "fiub", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]
    if found.size and found.dtype.kind not in kinds:
        raise RequestInvalid(reason=f"`{name}` must hold {_wanted(wanted)}")
    if wanted.kind in "iu" and found.size:
        limits = np.iinfo(wanted)
        if found.min() < limits.min or found.max() > limits.max:
            raise RequestInvalid(reason=f"`{name}` holds numbers that {dtype} can't")
    return found.astype(wanted, order="C", copy=False)


def check_finite(values: Array, name: str, stored: str) -> None:
    """Refuse NaN and Infinity where the model stores integers.

    Raises:
        RequestInvalid: there are some.
    """
    if not np.isfinite(values).all():
        raise RequestInvalid(reason=f"input '{name}' holds NaN or Infinity, its tensor stores {stored}")


def _wanted(dtype: np.dtype[Any]) -> str:
    return {"f": "numbers", "i": "integers", "u": "integers", "b": "true and false"}[dtype.kind]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def contiguous(values: Array) -> Array:
    """The same values, as the JSON writer wants them in memory."""
    return np.ascontiguousarray(values)
