"""The weighted layers of an artifact by the names that `keep_float` of a recipe's scheme takes."""

from __future__ import annotations

from pathlib import Path

from agent.contract.manifest import ModelFormat
from converters.onnx_nodes import TOOL_SUFFIXES
from converters.repair.onnx_graph import WEIGHTED


def quantized_layers(path: Path, kind: ModelFormat) -> dict[str, str]:
    """Name of each layer whose weights are integers to its kind, in the order of the file."""
    return _onnx(path) if kind is ModelFormat.ONNX else _tflite(path)


def _onnx(path: Path) -> dict[str, str]:
    import onnx

    graph = onnx.load(str(path)).graph
    constants = {tensor.name for tensor in graph.initializer}
    restored = {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    found = {}
    for node in graph.node:
        if node.op_type in WEIGHTED and node.input[1] in restored:
            name = node.name
            for suffix in TOOL_SUFFIXES:
                name = name.removesuffix(suffix)
            found[name] = node.op_type
    return found


def _tflite(path: Path) -> dict[str, str]:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph, codes = model.subgraphs[0], schema.BuiltinOperator
    kinds = {
        codes.CONV_2D: "CONV_2D",
        codes.DEPTHWISE_CONV_2D: "DEPTHWISE_CONV_2D",
        codes.FULLY_CONNECTED: "FULLY_CONNECTED",
    }
    found = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if kind and graph.tensors[operator.inputs[1]].type == schema.TensorType.INT8:
            found[graph.tensors[operator.outputs[0]].name.decode()] = kind
    return found
