"""Another opset for an ONNX model: the one that is wanted, or as near to it as its operators let it come.

The rule: what comes back is a valid model, changed or not. Operators that the older opset lacks are taken apart into
those that they are defined by (GELU, RMS normalization, attention); what then still prevents it is named. The IR is
a label of what a file may hold: it is lowered where the file holds nothing that the older one lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

STANDARD = ("", "ai.onnx")
NEWEST_DTYPE_OF_IR_8 = 16
"""bfloat16. What has a higher number (float8, int4, float4, int2) came with IR 9 and later."""
_OPERATOR = re.compile(r"No (?:Previous|Next) Version of (\w+) exists|No Adapter .*for (\w+)")


def opset(proto: Any) -> int:
    """Version of the standard operators that a model uses; 0 where it uses none."""
    return max((int(entry.version) for entry in proto.opset_import if entry.domain in STANDARD), default=0)


def to_opset(proto: Any, wanted: int) -> tuple[Any, str | None]:
    """Bring a model to an opset.

    Args:
        proto: onnx.ModelProto without functions of its own; it is not changed.
        wanted: the opset.

    Returns:
        The model in that opset, or in the one nearest to it that can be had, and then why it is not the one wanted.
    """
    found = opset(proto)
    if found == wanted:
        return proto, None
    reason = None
    try:
        given = _taken_apart(proto, wanted) if found > wanted else proto
    except RuntimeError:  # an assertion of the inliner: the version converter will name the operator
        given = proto
    for version in range(wanted, found) if found > wanted else (wanted,):
        try:
            return _converted(given, version), reason
        except Exception as error:  # the version converter raises RuntimeError and exceptions of C++ alike
            reason = reason or _why(error)
    return proto, reason


def to_ir(proto: Any, least: int) -> None:
    """Give a model the lowest IR that it fits in, in place; one that holds newer types of numbers keeps its own.

    It lists only the domains that it uses afterwards: ONNX Runtime's optimizer lists all that it knows, and an older
    one refuses a file for their versions.

    Args:
        proto: onnx.ModelProto without functions of its own.
        least: it gets no lower one.
    """
    import onnx

    used = {node.domain for graph in graphs(proto.graph) for node in graph.node} | {""}
    kept = [entry for entry in proto.opset_import if entry.domain in used or entry.domain in STANDARD]
    if len(kept) < len(proto.opset_import):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
        del proto.opset_import[:]
        proto.opset_import.extend(copies)
    if max(_dtypes(proto.graph), default=0) <= NEWEST_DTYPE_OF_IR_8:
        fits = onnx.helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
        proto.ir_version = max(least, fits)


def merge_opsets(proto: Any) -> None:
    """Leave one entry a domain, the newest, in place: some exporters list a domain twice."""
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain in STANDARD else entry.domain
        versions[domain] = max(versions.get(domain, 0), int(entry.version))
    if len(versions) < len(proto.opset_import):
        del proto.opset_import[:]
        for domain, version in versions.items():
            proto.opset_import.add(domain=domain, version=version)


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs(inner)


def _converted(proto: Any, version: int) -> Any:
    import onnx
    from onnx import version_converter

    made = version_converter.convert_version(proto, version)
    onnx.checker.check_model(made, full_check=True)
    return made


def _taken_apart(proto: Any, wanted: int) -> Any:
    """The model with what opset `wanted` lacks replaced by what it is defined by, where the standard defines it."""
    import onnx
    from onnx import inliner

    lacking = {
        (node.domain, node.op_type)
        for graph in graphs(proto.graph)
        for node in graph.node
        if node.domain in STANDARD and not onnx.defs.has(node.op_type, wanted, "")
    }
    if not lacking:
        return proto
    typed = onnx.shape_inference.infer_shapes(proto)
    _state_defaults(typed, lacking)
    # the inliner looks for the types of weights among those of other tensors
    typed.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in typed.graph.initializer
    )
    return inliner.inline_selected_functions(typed, sorted(lacking), inline_schema_functions=True)


def _state_defaults(proto: Any, kinds: set[tuple[str, str]]) -> None:
    """Write the attributes that nodes of these kinds leave to their defaults: the inliner knows no defaults."""
    import onnx

    for graph in graphs(proto.graph):
        for node in graph.node:
            if (node.domain, node.op_type) in kinds:
                known = onnx.defs.get_schema(node.op_type, opset(proto), "").attributes
                given = {attribute.name for attribute in node.attribute}
                node.attribute.extend(
                    known[name].default_value
                    for name in known
                    if name not in given and known[name].default_value.type
                )


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())
    match = _OPERATOR.search(text)
    return f"`{match[1] or match[2]}` has no form there" if match else text.rpartition("failed: ")[2][:160]


def _dtypes(graph: Any) -> Iterator[int]:
    """Numbers of all types that tensors of a graph and its inner graphs are stored in."""
    for part in graphs(graph):
        yield from (tensor.data_type for tensor in part.initializer)
        for value in (*part.input, *part.output, *part.value_info):
            yield int(value.type.tensor_type.elem_type)
        for node in part.node:
            for attribute in node.attribute:
                yield int(attribute.t.data_type)
                if attribute.name in ("to", "dtype"):
                    yield int(attribute.i)
