"""Half-precision ONNX: weights and arithmetic in float16, inputs and outputs float32, by ONNX Runtime's own tool.

The rule: what is inside of a loop or a branch stays float32, with a cast where it reads a tensor from around it: the
tool converts such bodies into files that no engine takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from converters.onnx_nodes import read_from_around, sort_nodes

CONTROL_FLOW = ("If", "Loop", "Scan")


def to_float16(proto: Any, kept: Iterable[str] = ()) -> Any:
    """A model in float16.

    Args:
        proto: onnx.ModelProto, float32; it is not changed.
        kept: names of nodes that stay float32.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    made = convert_float_to_float16(
        copy,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *CONTROL_FLOW],
        node_block_list=list(kept),
    )
    sort_nodes(made)
    _cast_what_bodies_read(made)
    return made


def _cast_what_bodies_read(proto: Any) -> None:
    """Give the bodies of loops and branches float32 copies of the float16 tensors around them."""
    import onnx

    graph, typed = proto.graph, onnx.shape_inference.infer_shapes(proto).graph
    half = onnx.TensorProto.FLOAT16
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == half}
    halves |= {
        value.name
        for value in (*typed.input, *typed.value_info, *typed.output)
        if value.type.tensor_type.elem_type == half
    }
    nodes: list[Any] = []
    cast: set[str] = set()
    for node in graph.node:
        bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        for name in sorted({name for body in bodies for name in read_from_around(body)} & halves):
            single = f"{name}_float32"
            if name not in cast:
                cast.add(name)
                nodes.append(
                    onnx.helper.make_node(
                        "Cast", [name], [single], name=f"{single}_cast", to=onnx.TensorProto.FLOAT
                    )
                )
            for body in bodies:
                _rename_read(body, name, single)
        nodes.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)


def _rename_read(body: Any, old: str, new: str) -> None:
    """Let a body, and those inside of it, read another tensor."""
    import onnx

    if any(value.name == old for value in body.output):  # an output's name is the body's own: pass it on
        body.node.append(onnx.helper.make_node("Identity", [new], [old], name=f"{new}_out"))
    for node in body.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for attribute in node.attribute:
            if attribute.HasField("g") and old in read_from_around(attribute.g):
                _rename_read(attribute.g, old, new)
