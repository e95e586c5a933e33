"""Which operators an ONNX model uses, in which version, on which types.

The rule: everything that a runtime would have to run is counted: loops' and branches' bodies, functions of the model's
own. Types are of what an operator is given and gives, without repetitions, `float32 int64 > float32`; none for loops
and branches, which take whatever their bodies do. A type that can't be told is `?`, of which nothing is known. An
operator's version is the opset in which it was last changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from converters.capability.measured import Use

STANDARD = ("", "ai.onnx")
UNKNOWN_TYPE = "?"


def operators(proto: Any) -> tuple[Use, ...]:
    """What an onnx.ModelProto uses, sorted, each once."""
    opsets = {_domain(entry.domain): int(entry.version) for entry in proto.opset_import}
    functions = {(_domain(function.domain), function.name) for function in proto.functions}
    found = set(_of_graph(_inferred(proto), {}, opsets, functions))
    for function in proto.functions:
        own = opsets | {_domain(entry.domain): int(entry.version) for entry in function.opset_import}
        found |= set(_of_nodes(function.node, {}, own, functions))
    return tuple(sorted(found))


def _domain(name: str) -> str:
    return "" if name in STANDARD else name


def _inferred(proto: Any) -> Any:
    """The graph with every type that can be told, and without its weights."""
    import onnx

    light = onnx.ModelProto()
    light.ir_version = proto.ir_version
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name
    light.graph.node.extend(proto.graph.node)
    light.graph.input.extend(proto.graph.input)
    light.graph.output.extend(proto.graph.output)
    light.graph.value_info.extend(proto.graph.value_info)
    known = {value.name for value in (*proto.graph.value_info, *proto.graph.input)}
    for tensor in proto.graph.initializer:
        if tensor.name not in known:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.value_info.append(value)
    try:
        return onnx.shape_inference.infer_shapes(light).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return light.graph  # what is stated has to do; the rest is unknown


def _of_graph(
    graph: Any, outer: Mapping[str, str], opsets: Mapping[str, int], functions: set[tuple[str, str]]
) -> Iterator[Use]:
    stated = {
        value.name: type_name(value.type.tensor_type.elem_type)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    held = {tensor.name: type_name(tensor.data_type) for tensor in graph.initializer}
    yield from _of_nodes(graph.node, {**outer, **stated, **held}, opsets, functions)


def _of_nodes(
    nodes: Sequence[Any],
    types: Mapping[str, str],
    opsets: Mapping[str, int],
    functions: set[tuple[str, str]],
) -> Iterator[Use]:
    for node in nodes:
        bodies = bodies_of(node)
        for graph in bodies:
            yield from _of_graph(graph, types, opsets, functions)
        domain = _domain(node.domain)
        if (domain, node.op_type) not in functions:
            given, gives = (_joined(names, types) for names in (node.input, node.output))
            name = f"{domain}.{node.op_type}" if domain else node.op_type
            version = _version(node.op_type, domain, opsets.get(domain, 1))
            yield Use(name, version, "" if bodies else f"{given} > {gives}".strip())


def bodies_of(node: Any) -> list[Any]:
    """The graphs that a loop or a branch holds."""
    return [
        graph
        for attribute in node.attribute
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
    ]


def _joined(names: Sequence[str], types: Mapping[str, str]) -> str:
    return joined(types.get(name, UNKNOWN_TYPE) for name in names if name)


def joined(words: Iterable[str]) -> str:
    """Words without what is the same as the one before it: how many tensors there are does not matter."""
    return " ".join(word for word, _ in itertools.groupby(words))


def _version(name: str, domain: str, opset: int) -> int:
    """The opset in which an operator was last changed; the model's own where no schema is known."""
    import onnx

    try:
        return int(onnx.defs.get_schema(name, opset, domain).since_version)
    except onnx.defs.SchemaError:
        return opset


def type_name(element: int) -> str:
    """The dtype of an element type's number, `?` where it is not stated."""
    import onnx

    name = str(onnx.TensorProto.DataType.Name(element)).lower()
    return {"undefined": UNKNOWN_TYPE, "float": "float32", "double": "float64"}.get(name, name)
