"""Which nodes of an ONNX model are meant, and how much of its weights became small.

The rule: a name that means nothing is an error, because a layer that should stay float and does not is a silent loss.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnsupported
from converters.onnx_opset import graphs

READS_SCALES = {"MatMulNBits", "DequantizeLinear"}
TOOL_SUFFIXES = ("/MatMulAddFusion", "/MatMulAddFusion/", "_MatMul")
"""What ONNX Runtime's tools append to the name of a node that they replace."""


def kept_float(proto: Any, names: Sequence[str], *, source: Path, target: str) -> list[str]:
    """Names of the nodes that a recipe's `keep_float` means.

    Args:
        proto: onnx.ModelProto, whose nodes all have names.
        names: of nodes, of tensors that they make, or of the layers that they come from (a part of a node's name
            between slashes); or expressions that begin with `re:`, searched in node names.
        source: the model that was given, for the sentence of an error.
        target: likewise.

    Raises:
        ModelUnsupported: a name means no node.
    """
    found: list[str] = []
    for name in names:
        nodes = [node.name for node in proto.graph.node if _is_meant(node, name)]
        if not nodes:
            raise ModelUnsupported(
                path=source,
                target=target,
                reason=f"the recipe keeps `{name}` float, and no layer or node is called that",
                way_out="take a name from the report's `layers`, or from a viewer of ONNX files",
            )
        found += nodes
    return list(dict.fromkeys(found))


def made_of(changed: Any, proto: Any, kept: Sequence[str]) -> list[str]:
    """Names of the nodes of a changed model that come from kept nodes of the model before.

    The tools name what they make of a node after it, or let it make what the node made.
    """
    names = {name + suffix for name in kept for suffix in ("", *TOOL_SUFFIXES)}
    tensors = {name for node in proto.graph.node if node.name in kept for name in node.output}
    return [
        node.name for node in changed.graph.node if node.name in names or not tensors.isdisjoint(node.output)
    ]


def name_nodes(proto: Any) -> None:
    """Name the nodes that have no name, after what they make: the tools know nodes by their names alone."""
    for graph in graphs(proto.graph):
        for node in graph.node:
            node.name = node.name or f"{node.op_type}_{node.output[0] if node.output else ''}"


def float_weights(proto: Any) -> dict[str, int]:
    """Bytes of the float weights (arrays of two or more axes, no scales) by the kind of operator that reads them."""
    import onnx

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    found: dict[str, int] = defaultdict(int)
    readers = {
        name: node.op_type for graph in graphs(proto.graph) for node in graph.node for name in node.input
    }
    for graph in graphs(proto.graph):
        for tensor in graph.initializer:
            reader = readers.get(tensor.name, "nothing")
            if tensor.data_type in floats and len(tensor.dims) > 1 and reader not in READS_SCALES:
                found[reader] += tensor.ByteSize()
    return dict(found)


def _is_meant(node: Any, name: str) -> bool:
    if name.startswith("re:"):
        return re.search(name[3:], node.name) is not None
    return name == node.name or name in node.output or name in node.name.split("/")
