"""Where an ONNX file says that its weights lie, when not in itself.

The rule: every tensor that the format can hold is looked at, wherever it is nested (graphs in attributes, functions,
sparse tensors, training graphs), because each library looks at some of them only. Numbers are those of `onnx.proto`.
"""

from __future__ import annotations

EXTERNAL = 1
"""Of `TensorProto.DataLocation`."""
_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {13: "entry"},
    "entry": {},
}
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def external_places(data: memoryview) -> list[str]:
    """The places of all tensors that are kept in other files; an empty text for one that names none.

    Args:
        data: the bytes of a whole ONNX file.

    Raises:
        ValueError: it is no protocol buffer.
    """
    places: list[str] = []
    todo = [("model", 0, len(data))]
    while todo:
        kind, at, end = todo.pop()
        named: list[str] = []
        external = False
        while at < end:
            key, at = _varint(data, at, end)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = _varint(data, at, end)
                external = external or (kind == "tensor" and number == 14 and value == EXTERNAL)
                continue
            length, at = (
                _varint(data, at, end) if wire == _BYTES else ({_FIXED_64: 8, _FIXED_32: 4}.get(wire, -1), at)
            )
            if length < 0 or at + length > end:
                raise ValueError("it breaks off")
            inner = _INNER[kind].get(number) if wire == _BYTES else None
            if inner == "entry":
                external = True
                named += _location(data, at, at + length)
            elif inner is not None:
                todo.append((inner, at, at + length))
            at += length
        if external:
            places += named or [""]
    return places


def _location(data: memoryview, at: int, end: int) -> list[str]:
    """The value of an entry whose key is `location`, or nothing."""
    found = {1: b"", 2: b""}
    while at < end:
        key, at = _varint(data, at, end)
        length, at = _varint(data, at, end)
        if key & 7 != _BYTES or at + length > end:
            raise ValueError("it breaks off")
        found[key >> 3] = bytes(data[at : at + length])
        at += length
    return [found[2].decode(errors="replace")] if found[1] == b"location" else []


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it breaks off")
