"""What a `.tflite` file says of itself, read without TensorFlow.

The rule: every offset is checked against the file before it is followed, so that a cut or damaged file is an error
with a reason and never a crash. The tables and field numbers are those of TensorFlow Lite's `schema.fbs`; this
reads the few that decide what boards can run the file. `min_runtime_version` is not read: it can't be trusted
(AI Edge Quantizer leaves the float model's on files that old runtimes answer wrongly). Nor is the operators' own
version alone: what counts is the operator on the types that it is given, see `converters.requirements`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import ModelUnreadable
from agent.contract.manifest import TensorSpec

IDENTIFIER = b"TFL3"
DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 15: "uint32", 16: "uint16",
    13: "resource", 14: "variant", 17: "int4", 18: "bfloat16", 19: "int2", 20: "uint4",
}  # fmt: skip
SOFTMAX, CUSTOM = 25, 32
CONTROL = (118, 119, 129)
"""IF, WHILE and CALL_ONCE: they run other graphs of the file, on whatever types those have."""
BLOCKWISE = 2
"""Of `QuantizationDetails`: many scales along an axis, each for a block."""
SCALED = ("int8", "uint8", "int16", "int4", "uint4", "int2")
"""Dtypes of which it matters what a scale is for; those of biases follow their weights'."""


class _Damaged(Exception):
    """An offset or length points outside of the file."""


@dataclass(frozen=True, order=True)
class Operator:
    """A built-in operator as a file uses it.

    Attributes:
        code: its number in `BuiltinOperator`.
        version: of the operator, as the file states it.
        types: of what it is given and gives, without repetitions: `float32 int8/channel float32 > float32`.
            Integers say what a scale is for: `/tensor`, `/channel`, `/block`, or nothing where they have none. Empty
            for what runs another graph, whose operators are counted by themselves.
    """

    code: int
    version: int
    types: str


@dataclass(frozen=True, kw_only=True)
class TFLiteFile:
    """What decides who can run it.

    Attributes:
        inputs, outputs: of the first subgraph.
        softmax: the first output is that of a softmax.
        custom: names of operators that are not built in.
        operators: what all of its graphs use, sorted, each once.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    softmax: bool
    custom: tuple[str, ...]
    operators: tuple[Operator, ...]


def read(path: Path) -> TFLiteFile:
    """Read what a `.tflite` file says of itself.

    Raises:
        ModelUnreadable: it is damaged, breaks off, or describes tensors that can't be.
    """
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise ModelUnreadable(path=path, format="TFLite", reason="it does not begin like one")
    try:
        return _read(_Table(data, _u32(data, 0)))
    except _Damaged as error:
        raise ModelUnreadable(path=path, format="TFLite", reason=str(error)) from error


def _u32(data: bytes, at: int) -> int:
    if at < 0 or at + 4 > len(data):
        raise _Damaged(f"it breaks off after {len(data):,} bytes")
    return int(struct.unpack_from("<I", data, at)[0])


class _Table:
    """A flatbuffer's table: fields by number, each offset checked."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self._fields = at - int(struct.unpack("<i", struct.pack("<I", _u32(data, at)))[0])
        self._length = self._unpack("<H", self._fields)

    def _unpack(self, kind: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(kind) > len(self.data):
            raise _Damaged(f"it breaks off after {len(self.data):,} bytes")
        return int(struct.unpack_from(kind, self.data, at)[0])

    def _field(self, number: int) -> int:
        """Where the field's value is, or 0 where it is absent."""
        slot = 4 + 2 * number
        offset = self._unpack("<H", self._fields + slot) if slot + 2 <= self._length else 0
        return self.at + offset if offset else 0

    def number(self, number: int, kind: str, default: int = 0) -> int:
        at = self._field(number)
        return self._unpack(kind, at) if at else default

    def _vector(self, number: int, item_bytes: int) -> tuple[int, int]:
        """Where the field's vector begins and how many items it has."""
        at = self._field(number)
        if not at:
            return 0, 0
        begin = at + _u32(self.data, at)
        count = _u32(self.data, begin)
        if begin + 4 + count * item_bytes > len(self.data):
            raise _Damaged(f"it breaks off after {len(self.data):,} bytes")
        return begin + 4, count

    def numbers(self, number: int, kind: str) -> list[float]:
        begin, count = self._vector(number, struct.calcsize(f"<{kind}"))
        return list(struct.unpack_from(f"<{count}{kind}", self.data, begin)) if count else []

    def integers(self, number: int, kind: str = "i") -> list[int]:
        return [int(value) for value in self.numbers(number, kind)]

    def length(self, number: int) -> int:
        return self._vector(number, 1)[1]

    def text(self, number: int) -> str:
        begin, count = self._vector(number, 1)
        return self.data[begin : begin + count].decode(errors="replace")

    def tables(self, number: int) -> list[_Table]:
        begin, count = self._vector(number, 4)
        places = range(begin, begin + 4 * count, 4)
        return [_Table(self.data, place + _u32(self.data, place)) for place in places]

    def table(self, number: int) -> _Table | None:
        at = self._field(number)
        return _Table(self.data, at + _u32(self.data, at)) if at else None


def _read(model: _Table) -> TFLiteFile:
    codes = [_operator_code(table) for table in model.tables(1)]
    buffers = [_buffer_length(table, len(model.data)) for table in model.tables(4)]
    graphs = model.tables(2)
    if not graphs or not codes:
        raise _Damaged("it holds no graph")
    for graph in graphs:
        _check_graph(graph, len(codes), len(buffers))
    tensors = graphs[0].tables(0)
    outputs = graphs[0].integers(2)
    last = next((op for op in graphs[0].tables(3) if outputs and outputs[0] in op.integers(2)), None)
    return TFLiteFile(
        inputs=tuple(_spec(tensors[index]) for index in graphs[0].integers(1)),
        outputs=tuple(_spec(tensors[index]) for index in outputs),
        softmax=last is not None and codes[last.number(0, "<I")][0] == SOFTMAX,
        custom=tuple(sorted({name or "unnamed" for code, _, name in codes if code == CUSTOM})),
        operators=tuple(sorted({found for graph in graphs for found in _used(graph, codes)})),
    )


def _operator_code(table: _Table) -> tuple[int, int, str]:
    """Code, version and custom name. Codes beyond 127 stand in field 3, older files only have field 0."""
    return max(table.number(0, "<b"), table.number(3, "<i")), table.number(2, "<i", 1), table.text(1)


def _buffer_length(table: _Table, file_bytes: int) -> int:
    offset, size = table.number(1, "<Q"), table.number(2, "<Q")
    if offset > 1 and offset + size > file_bytes:
        raise _Damaged(f"it breaks off after {file_bytes:,} bytes")
    return table.length(0) or size


def _check_graph(graph: _Table, codes: int, buffers: int) -> None:
    """Indices point at what is there; quantization axes are axes."""
    tensors = graph.tables(0)
    used = [*graph.integers(1), *graph.integers(2)]
    for op in graph.tables(3):
        if op.number(0, "<I") >= codes:
            raise _Damaged("it uses an operator that it does not list")
        used += [index for index in (*op.integers(1), *op.integers(2)) if index != -1]
    if any(not 0 <= index < len(tensors) for index in used):
        raise _Damaged("it uses a tensor that it does not list")
    for index, tensor in enumerate(tensors):
        if tensor.number(2, "<I") >= buffers:
            raise _Damaged("it uses a buffer that it does not list")
        quantization = tensor.table(4)
        axes = len(tensor.integers(0))
        if quantization is not None and quantization.length(2) > 1:
            axis = quantization.number(6, "<i")
            if not 0 <= axis < max(axes, 1):
                raise _Damaged(f"tensor {index} is quantized along axis {axis} and has {axes}")


def _dtype(tensor: _Table) -> str:
    return DTYPES.get(tensor.number(1, "<b"), "unknown")


def _spec(tensor: _Table) -> TensorSpec:
    shape, signature = tensor.integers(0), tensor.integers(7)
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f") if quantization else []
    zero_points = quantization.integers(3, "q") if quantization else []
    dtype = _dtype(tensor)
    quantized = len(scales) == 1 and not dtype.startswith("float")
    return TensorSpec(
        name=tensor.text(3),
        dtype=dtype,
        shape=tuple(signature if len(signature) == len(shape) and signature else shape),
        scale=float(scales[0]) if quantized else None,
        zero_point=int(zero_points[0]) if quantized and zero_points else (0 if quantized else None),
    )


def _used(graph: _Table, codes: list[tuple[int, int, str]]) -> Iterator[Operator]:
    """The built-in operators of a graph."""
    kinds = [_kind(tensor) for tensor in graph.tables(0)]
    for op in graph.tables(3):
        code, version, _ = codes[op.number(0, "<I")]
        if code != CUSTOM:
            given, gives = (_joined([kinds[i] for i in op.integers(n) if i >= 0]) for n in (1, 2))
            yield Operator(code, version, "" if code in CONTROL else f"{given} > {gives}".strip())


def _joined(kinds: list[str]) -> str:
    """Words without what is the same as the one before it: how many tensors there are does not matter."""
    return " ".join(kind for kind, _ in itertools.groupby(kinds))


def _kind(tensor: _Table) -> str:
    """`int8/channel`: the dtype and what its scales are for."""
    dtype, quantization = _dtype(tensor), tensor.table(4)
    sparse = "/sparse" if tensor.table(6) is not None else ""
    scales = quantization.length(2) if quantization else 0
    if quantization is None or dtype not in SCALED:
        return dtype + sparse
    if quantization.number(4, "<B") == BLOCKWISE:
        return f"{dtype}/block{sparse}"
    return dtype + ("/channel" if scales > 1 else "/tensor" if scales else "") + sparse
