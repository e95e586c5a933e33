"""ONNX files: read with their external data, brought to the opset and IR that boards take, checked, described.

The rule: external data come from the model's own folder or not at all. A model that holds NaN, or operators that no
board's ONNX Runtime has, is refused with their names. What is written is one file of opset 17 and IR 8 wherever the
converter can bring it there, and is checked and described from what was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from agent.contract.manifest import TensorSpec
from agent.contract.onnx_places import external_places
from converters.onnx_opset import STANDARD, graphs, merge_opsets, opset, to_ir, to_opset

OPSET = 17
IR_VERSION = 8
MOST_FILE_BYTES = 2 * 1024**3 - 1
DOMAINS = {*STANDARD, "ai.onnx.ml", "com.microsoft"}
"""Of the operators that ONNX Runtime brings with it."""
SOFTMAX_SLOPE = 0.5
"""A change of all logits by at most d changes a probability by at most 2 p (1 - p) d, so by at most d / 2."""


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A model in memory.

    Attributes:
        proto: onnx.ModelProto, external data inside.
        external: weights came from other files.
        notes: what was changed that a person should know.
    """

    proto: Any
    external: bool = False
    notes: tuple[str, ...] = ()


def read(path: Path) -> OnnxFile:
    """Read a model and its external data.

    Raises:
        ModelUnreadable: it is no ONNX model, is damaged, or points outside of its folder.
        ModelUnsupported: it is too large, holds NaN, or operators that no board has.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load(str(path), load_external_data=False)
        external = external_places(memoryview(path.read_bytes()))
        for place in external:
            _check_place(path, place)
        _refuse_large(path, external)
        if external:
            onnx.load_external_data_for_model(proto, str(path.parent))
            if external_places(memoryview(proto.SerializeToString())):
                raise ValueError("it keeps weights in other files where none belong")
        if not proto.graph.node or not proto.graph.output:
            raise ModelUnreadable(path=path, format="ONNX", reason="it holds no graph")
        merge_opsets(proto)
        _refuse_newer(path, proto)
        _refuse_unknown_operators(path, proto)
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError, OSError) as error:
        raise ModelUnreadable(path=path, format="ONNX", reason=" ".join(str(error).split())[:300]) from error
    _refuse_other_values(path, proto)
    _refuse_nan(path, proto)
    return OnnxFile(proto=proto, external=bool(external))


def _check_place(path: Path, place: str) -> None:
    """A plain file below the model's folder that is nowhere else: a link, hard or not, may be to anything."""
    folder = path.parent.resolve()
    target = folder / place
    inside = place and not Path(place).is_absolute() and target.resolve().is_relative_to(folder)
    if not inside or target.is_symlink():
        raise ModelUnreadable(
            path=path, format="ONNX", reason=f"its weights are to come from `{place}`, outside of its folder"
        )
    if not target.is_file():
        raise ModelUnreadable(
            path=path, format="ONNX", reason=f"`{place}`, which holds its weights, is not there"
        )
    if target.stat().st_nlink > 1:
        reason = f"`{place}`, which holds its weights, has another name elsewhere: copy the model's folder"
        raise ModelUnreadable(path=path, format="ONNX", reason=reason)


def _refuse_large(path: Path, places: list[str]) -> None:
    size = path.stat().st_size + sum((path.parent / place).stat().st_size for place in set(places))
    if size > MOST_FILE_BYTES:
        raise ModelUnsupported(
            path=path,
            target="an artifact for boards",
            reason=f"with its weights it has {size / 1e9:.1f} GB, and one ONNX file holds at most 2 GiB",
            way_out="use a smaller model; edge makes one file of each",
        )


def _refuse_newer(path: Path, proto: Any) -> None:
    """A file may state an opset or IR that this machine's onnx has never heard of."""
    import onnx

    known = onnx.defs.onnx_opset_version(), int(onnx.IR_VERSION)
    if opset(proto) > known[0] or proto.ir_version > known[1]:
        raise ModelUnsupported(
            path=path,
            target="an artifact for boards",
            reason=f"it states opset {opset(proto)} and IR {proto.ir_version},"
            f" and onnx {onnx.__version__} knows them up to opset {known[0]} and IR {known[1]}",
            way_out=f"export it in opset {OPSET}: exporters have an option for it",
        )


def _refuse_unknown_operators(path: Path, proto: Any) -> None:
    """Operators of other domains, and those that the standard does not have: some exporters write them."""
    from onnx import defs

    own = {(function.domain, function.name) for function in proto.functions}
    nodes = [node for graph in graphs(proto.graph) for node in graph.node]
    nodes += [node for function in proto.functions for node in function.node]
    found = sorted({
        f"`{node.domain}.{node.op_type}`" if node.domain else f"`{node.op_type}`"
        for node in nodes
        if (node.domain, node.op_type) not in own
        and (
            node.domain not in DOMAINS
            or (node.domain in STANDARD and not defs.has(node.op_type))
        )
    })  # fmt: skip
    if found:
        raise ModelUnsupported(
            path=path,
            target="an artifact for boards",
            reason=f"it uses operators that ONNX Runtime does not have: {', '.join(found)}",
            way_out="export it with standard operators only",
        )


def _refuse_other_values(path: Path, proto: Any) -> None:
    """Boards give and take arrays of numbers: no text, no sequence, no map; and nothing is asked of a constant."""
    from onnx import TensorProto

    held = {tensor.name for tensor in proto.graph.initializer}
    taken = [value for value in proto.graph.input if value.name not in held]
    reason = None if taken else "it takes no input"
    for value in (*taken, *proto.graph.output):
        if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type == TensorProto.STRING:
            reason = f"`{value.name}` is no array of numbers"
    if reason is not None:
        raise ModelUnsupported(
            path=path,
            target="an artifact for boards",
            reason=reason,
            way_out="export it with arrays of numbers as its inputs and outputs",
        )


def _refuse_nan(path: Path, proto: Any) -> None:
    """Infinity may be meant (attention masks); NaN never is."""
    from onnx import TensorProto, numpy_helper

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}
    for graph in graphs(proto.graph):
        inside = (
            attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")
        )
        for tensor in (*graph.initializer, *inside):
            if tensor.data_type in floats and np.isnan(numpy_helper.to_array(tensor)).any():
                raise ModelUnsupported(
                    path=path,
                    target="an artifact for boards",
                    reason=f"its weight `{tensor.name}` holds NaN",
                    way_out="its training diverged: take an earlier state of it",
                )


def for_boards(file: OnnxFile) -> OnnxFile:
    """The model in opset 17 and IR 8, or as near to it as its operators let it come; initializers are no inputs."""
    from onnx import inliner

    found = opset(file.proto)
    proto = _without_double_inputs(file.proto)
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    proto, prevented = to_opset(proto, OPSET)
    notes = list(file.notes)
    if prevented is not None:
        notes.append(f"opset {found} became {opset(proto)} and not {OPSET}: {prevented}")
    to_ir(proto, IR_VERSION)
    return OnnxFile(proto=proto, external=file.external, notes=tuple(notes))


def _without_double_inputs(proto: Any) -> Any:
    """A copy whose graph inputs are only what a caller must give (IR 3 lists initializers among them)."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    if copy.ir_version < 4:
        copy.ir_version = 4
    held = {tensor.name for tensor in copy.graph.initializer}
    kept = [value for value in copy.graph.input if value.name not in held]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    return copy


def inputs(proto: Any) -> tuple[TensorSpec, ...]:
    """What a caller must give."""
    held = {tensor.name for tensor in proto.graph.initializer}
    return tuple(_spec(value) for value in proto.graph.input if value.name not in held)


def outputs(proto: Any) -> tuple[TensorSpec, ...]:
    """What it answers; `scale` is the step that the last quantizer before a float output leaves."""
    return tuple(_spec(value, _last_step(proto, value.name)) for value in proto.graph.output)


def ends_in_softmax(proto: Any) -> bool:
    """Whether the first output comes from a softmax."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    node = makers.get(proto.graph.output[0].name)
    while node is not None and node.op_type in (
        "DequantizeLinear",
        "QuantizeLinear",
        "Identity",
        "Cast",
        "Reshape",
    ):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _spec(value: Any, scale: float | None = None) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "float32"
    shape = tuple(int(axis.dim_value) if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape, scale=scale)


def _last_step(proto: Any, name: str) -> float | None:
    """Step of the quantizer that a float output comes from, through what stretches it by a known factor."""
    import onnx

    makers = {made: node for node in proto.graph.node for made in node.output}
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    slope = 1.0
    node = makers.get(name)
    while node is not None and node.op_type in (
        "Softmax",
        "Sigmoid",
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
    ):
        slope *= {"Softmax": SOFTMAX_SLOPE, "Sigmoid": 0.25}.get(node.op_type, 1.0)
        node = makers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in constants:
        return None
    return float(onnx.numpy_helper.to_array(constants[node.input[1]]).max()) * slope
