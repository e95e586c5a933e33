"""A `.tflite` brought to where its quantization can begin: all of it float, with a signature.

The rule: weights that are stored as integers or 16-bit floats, but computed in floats, are expanded to 32-bit floats;
a file that computes in integers is the end of a conversion, and is refused. AI Edge Quantizer calibrates by signatures
alone, takes every mark of quantization for one, also the empty ones that older converters write, and does nothing in
silence where an operator's number stands in the field that they used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SIGNATURE = b"serving_default"
"""The name that TensorFlow gives to the only one."""
SPLITS = ("SPLIT", "SPLIT_V", "UNPACK")
"""What makes parts of one tensor, all of its type."""


class Unfit(Exception):
    """Nothing that can be quantized; the message says why."""


def as_float(content: bytes) -> bytes:
    """The same model, ready for AI Edge Quantizer.

    Raises:
        Unfit: it is quantized already, or a weight is NaN or infinite.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for code in model.operatorCodes:
        code.builtinCode = flatbuffer_utils.get_builtin_code_from_operator_code(code)
    for graph in model.subgraphs:
        _refuse_integers(model, graph)
        _fold_dequantized(model, graph)
        for tensor in graph.tensors:
            if _scales(tensor) is not None:
                _expand(model, tensor)
            tensor.quantization = None
            _refuse_broken(model, tensor)
    _drop_unused(model)
    model.signatureDefs = model.signatureDefs or [_signature(model.subgraphs[0])]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_dead_ends(content: bytes) -> bytes:
    """The same model, also giving out what no operator takes, like one part of a split in an unrolled LSTM.

    Otherwise the runtime never computes it, and AI Edge Quantizer's calibration fails (`Tensor data is null`).
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    taken, made = _taken(graph), [place for operator in graph.operators for place in operator.outputs]
    graph.outputs = [*graph.outputs, *(place for place in made if place not in taken)]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_whole_splits(content: bytes) -> bytes:
    """A quantized model, with the part of a split that no operator takes in the type of the other parts.

    AI Edge Quantizer leaves it in float, and LiteRT does not load that.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        taken = _taken(graph)
        for operator in graph.operators:
            if flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) not in SPLITS:
                continue
            parts = [graph.tensors[place] for place in operator.outputs]
            whole = next((graph.tensors[place] for place in operator.outputs if place in taken), parts[0])
            for part in parts:
                part.type, part.quantization = whole.type, whole.quantization
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _taken(graph: Any) -> set[int]:
    """Tensors that somebody takes: an operator, or who runs the model."""
    return {*graph.outputs, *(place for operator in graph.operators for place in operator.inputs)}


def _refuse_integers(model: Any, graph: Any) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    for tensor in graph.tensors:
        if _scales(tensor) is not None and not _constant(model, tensor):
            dtype = flatbuffer_utils.type_to_name(tensor.type).lower()
            name = tensor.name.decode(errors="replace").partition(";")[0]
            raise Unfit(f"it is quantized already: `{name}` in it is {dtype}")


def _refuse_broken(model: Any, tensor: Any) -> None:
    broken = tensor.type == _types().FLOAT32 and _constant(model, tensor)
    if broken and not np.isfinite(_values(model, tensor)).all():
        name = tensor.name.decode(errors="replace").partition(";")[0]
        raise Unfit(f"its weights `{name}` hold NaN or infinity")


def _fold_dequantized(model: Any, graph: Any) -> None:
    """Turn `constant -> DEQUANTIZE -> x` into a constant x."""
    from ai_edge_litert.tools import flatbuffer_utils

    left = []
    for operator in graph.operators:
        name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        given, made = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None, None
        if name == "DEQUANTIZE" and _constant(model, given):
            made = graph.tensors[operator.outputs[0]]
            made.buffer = _add(model, _values(model, given))
        else:
            left.append(operator)
    graph.operators = left


def _expand(model: Any, tensor: Any) -> None:
    tensor.buffer = _add(model, _values(model, tensor))
    tensor.type = _types().FLOAT32


def _values(model: Any, tensor: Any) -> Any:
    """A constant's real numbers, float32 in its own shape."""
    stored = _stored(tensor)
    raw = bytes(bytearray(model.buffers[tensor.buffer].data))
    shape = (
        [] if tensor.shape is None else [int(axis) for axis in tensor.shape]
    )  # a single number's may be left out
    values = np.frombuffer(raw, stored).astype(np.float32).reshape(shape)
    scales = _scales(tensor)
    if scales is None:
        return values
    zeros = np.asarray(tensor.quantization.zeroPoint, np.float32)
    if len(scales) == 1:
        return (values - zeros[0]) * scales[0]
    along = [1] * values.ndim
    along[tensor.quantization.quantizedDimension] = -1
    return (values - zeros.reshape(along)) * scales.reshape(along)


def _stored(tensor: Any) -> Any:
    types = _types()
    known = {types.INT8: np.int8, types.UINT8: np.uint8, types.INT16: np.int16, types.INT32: np.int32}
    known |= {types.FLOAT16: np.float16, types.FLOAT32: np.float32}
    if tensor.type not in known:
        raise Unfit("it is quantized already, to less than 8 bits")
    return known[tensor.type]


def _add(model: Any, values: Any) -> int:
    """Number of a new buffer with these values."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _drop_unused(model: Any) -> None:
    """Shrink the tensors that no operator uses any more, and empty their buffers.

    Their places stay, because numbers point at them; and they hold a number, because the tool looks at each.
    """
    one = _add(model, np.zeros(1))
    for graph in model.subgraphs:
        places = {place for op in graph.operators for place in (*op.inputs, *op.outputs)}
        for place, tensor in enumerate(graph.tensors):
            if place not in places | {*graph.inputs, *graph.outputs}:
                tensor.buffer, tensor.shape, tensor.type = one, [1], _types().FLOAT32
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for place, buffer in enumerate(model.buffers):
        if place not in used:
            buffer.data = None


def _scales(tensor: Any) -> Any:
    found = tensor.quantization.scale if tensor.quantization is not None else None
    return None if found is None or not len(found) else np.asarray(found, np.float32)


def _constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _signature(graph: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    def named(places: Any) -> list[Any]:
        return [schema.TensorMapT(name=graph.tensors[place].name, tensorIndex=place) for place in places]

    return schema.SignatureDefT(
        inputs=named(graph.inputs), outputs=named(graph.outputs), signatureKey=SIGNATURE, subgraphIndex=0
    )


def _types() -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.TensorType
