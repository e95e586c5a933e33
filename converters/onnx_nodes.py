"""Which nodes of an ONNX model are meant, in which order they stand, and how much of its weights became small.

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


def sort_nodes(proto: Any) -> None:
    """Let each node stand behind what it reads, its bodies included, otherwise in the order that they have.

    The tools put what they insert at the end, and where they sort, they don't look into bodies.

    Raises:
        ValueError: the nodes read each other in a circle.
    """
    for graph in reversed(
        list(graphs(proto.graph))
    ):  # copies of nodes take bodies along that are sorted already
        ordered = [type(node).FromString(node.SerializeToString()) for node in _sorted(graph.node)]
        del graph.node[:]
        graph.node.extend(ordered)


def _sorted(nodes: Sequence[Any]) -> list[Any]:
    unmade = {name for node in nodes for name in node.output}
    ordered: list[Any] = []
    waiting: list[tuple[Any, set[str]]] = []
    for node in nodes:
        waiting.append((node, _read(node)))
        while ready := [node for node, read in waiting if unmade.isdisjoint(read)]:
            waiting = [(node, read) for node, read in waiting if not unmade.isdisjoint(read)]
            unmade.difference_update(*(node.output for node in ready))
            ordered += ready
    if waiting:
        raise ValueError("its nodes read each other in a circle")
    return ordered


def _read(node: Any) -> set[str]:
    """Names of what a node reads, its bodies included."""
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return {name for name in node.input if name}.union(*(read_from_around(body) for body in bodies))


def read_from_around(body: Any) -> set[str]:
    """Names of tensors that a body reads and does not make."""
    made = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    made |= {name for node in body.node for name in node.output}
    read = {value.name for value in body.output}.union(*(_read(node) for node in body.node))
    return read - made


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
