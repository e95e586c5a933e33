"""What a quantized `.tflite` says of the runtime that it needs, made true.

The rule: AI Edge Quantizer leaves operator versions and `min_runtime_version` as they were in the float file, which
old runtimes believe: they load it and answer by chance. Here the operators that carry weights get the version that
TensorFlow's own converter gives to the same types, at which old runtimes refuse the file, and the stamp becomes that
of the first runtime that answers it right.
"""

from __future__ import annotations

from typing import Any

STAMP = b"min_runtime_version"
STAMP_BYTES = 16
INTEGERS = ("INT8", "INT16", "INT4")
VERSIONS = {
    # operator: what it computes in, dtype of its weights -> version of the operator
    "FULLY_CONNECTED": {
        ("FLOAT32", "INT8"): 12, ("FLOAT32", "INT4"): 12, ("INT8", "INT8"): 4, ("INT8", "INT4"): 10,
    },
    "CONV_2D": {
        ("FLOAT32", "INT8"): 5, ("FLOAT32", "INT4"): 7, ("INT8", "INT8"): 3, ("INT8", "INT4"): 7,
    },
    "DEPTHWISE_CONV_2D": {("FLOAT32", "INT8"): 6, ("INT8", "INT8"): 3},
}  # fmt: skip
WEIGHTS = 1
"""Place of the weights among an operator's inputs, in all of `VERSIONS`."""

OF_INTEGERS = "1.14.0"
OF_GELU = "2.9.0"
OF_INT16 = "2.4.0"
OF_HYBRID = "2.17.0"
"""float32 met by integer weights: the first that answers them right is of TensorFlow 2.17 (LiteRT 1.0)."""
OF_BLOCKS = "2.19.0"


def stamp(data: bytes) -> bytes:
    """A file with true operator versions and a true `min_runtime_version`; a file without a stamp gets none."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    versions = [_raise_versions(model, graph) for graph in model.subgraphs]
    place = next((entry.buffer for entry in model.metadata or () if entry.name == STAMP), None)
    if place is not None:
        said = bytes(model.buffers[place].data).rstrip(b"\0").decode()
        true = max((said, *(version for version in versions)), key=_numbers)
        model.buffers[place].data = list(true.encode().ljust(STAMP_BYTES, b"\0"))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _raise_versions(model: Any, graph: Any) -> str:
    """Raise the versions of a graph's operators; the least runtime for all of them."""
    from ai_edge_litert.tools import flatbuffer_utils

    needed = ["1.5.0"]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) or ""
        given = [_dtype(graph.tensors[place]) for place in operator.inputs if place >= 0]
        if name in VERSIONS and len(given) > WEIGHTS:
            types = (given[0], given[WEIGHTS])
            code.version = max(code.version, VERSIONS[name].get(types, 1))
            needed.append(_runtime(types, blocks=_in_blocks(graph.tensors[operator.inputs[WEIGHTS]])))
        if given and given[0] == "INT16":
            needed.append(OF_INT16)
        elif given and given[0] in INTEGERS:
            needed.append(OF_GELU if name == "GELU" else OF_INTEGERS)
    return max(needed, key=_numbers)


def _runtime(types: tuple[str, str], *, blocks: bool) -> str:
    activations, weights = types
    if blocks:
        return OF_BLOCKS
    if weights == "INT4" or (activations == "FLOAT32" and weights in INTEGERS):
        return OF_HYBRID
    return OF_INTEGERS if weights in INTEGERS else "1.5.0"


def _dtype(tensor: Any) -> str:
    from ai_edge_litert.tools import flatbuffer_utils

    return str(flatbuffer_utils.type_to_name(tensor.type))


def _in_blocks(tensor: Any) -> bool:
    found = tensor.quantization
    return type(getattr(found, "details", None)).__name__.startswith("Blockwise")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
