"""A `.tflite` net becomes models of one operator each.

The rule: an operator is run on the numbers that it met in its net, with its own options, constants and states, so that
what differs between runtimes is the operator and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import tflite_file

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
PACKED = (17, 19, 20)
"""int4, int2 and uint4, which no caller can give."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A model of one operator.

    Attributes:
        data: the file.
        inputs: one array an input.
    """

    data: bytes
    inputs: tuple[NDArray[Any], ...]


def cuts(net: bytes, inputs: list[NDArray[Any]]) -> Iterator[Cut]:
    """The operators of a net's main graph, each kind once.

    Args:
        net: a `.tflite` file.
        inputs: one array an input of the net, stored as its tensors are.
    """
    from ai_edge_litert.schema_py_generated import ModelT

    interpreter = _run(net, inputs)
    whole = ModelT.InitFromPackedBuf(net, 0)
    kinds = [_kind(whole, operator) for operator in whole.subgraphs[0].operators]
    for place, kind in enumerate(kinds):
        if kind in kinds[:place]:
            continue
        model = ModelT.InitFromPackedBuf(net, 0)  # taken apart anew each time: what follows changes it
        given = _reduce(model, place)
        yield Cut(
            data=packed(model), inputs=tuple(np.array(interpreter.get_tensor(index)) for index in given)
        )


def _run(net: bytes, inputs: list[NDArray[Any]]) -> Any:
    """An interpreter that has run the net and kept every tensor.

    XNNPACK, which computes what is between its ends in places of its own, is left out unless it alone can run the net.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    for kernels in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        interpreter = Interpreter(
            model_content=net,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=kernels,
        )
        with contextlib.suppress(RuntimeError):
            interpreter.allocate_tensors()
            for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            return interpreter
    raise RuntimeError("a net that ran in the same runtime before")


def squeezed(cut: Cut) -> Iterator[Cut]:
    """A RESHAPE that only leaves out axes of length 1, as the SQUEEZE that other converters write for it."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(cut.data, 0)
    graph, codes = model.subgraphs[0], schema.BuiltinOperator
    if (
        len(graph.operators) > 1
        or model.operatorCodes[0].builtinCode != codes.RESHAPE
        or len(graph.inputs) > 1
    ):
        return
    operator = graph.operators[0]
    before, after = (list(graph.tensors[i].shape) for i in (operator.inputs[0], operator.outputs[0]))
    axes = [axis for axis, length in enumerate(before) if length == 1]
    if not axes or [length for length in before if length != 1] != after:
        return
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = codes.SQUEEZE
    operator.inputs = [operator.inputs[0]]
    operator.builtinOptionsType = schema.BuiltinOptions.SqueezeOptions
    operator.builtinOptions = schema.SqueezeOptionsT()
    operator.builtinOptions.squeezeDims = axes
    yield Cut(data=packed(model), inputs=cut.inputs)


def with_version(model: bytes, version: int) -> bytes:
    """The same model of one operator, stamped with another version of it."""
    from ai_edge_litert.schema_py_generated import ModelT

    changed = ModelT.InitFromPackedBuf(model, 0)
    changed.operatorCodes[changed.subgraphs[0].operators[0].opcodeIndex].version = version
    return packed(changed)


def with_signature(data: bytes) -> bytes:
    """The same file with names for its inputs, which AI Edge Quantizer asks for."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    for place, kind in (("inputs", "input"), ("outputs", "output")):
        entries = []
        for number, index in enumerate(getattr(model.subgraphs[0], place)):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{kind}_{number}", int(index)
            entries.append(entry)
        setattr(signature, place, entries)
    model.signatureDefs = [signature]
    return packed(model)


def named(sample: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """A sample by the names of `with_signature`."""
    return {f"input_{number}": array for number, array in enumerate(sample)}


def packed(model: Any) -> bytes:
    """The file of a ModelT."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _kind(model: Any, operator: Any) -> tuple[object, ...]:
    """What tells operators apart: which, in what version, on what tensors."""
    tensors = model.subgraphs[0].tensors

    def told(index: int) -> tuple[object, ...]:
        found = tensors[index].quantization
        scales = 0 if found is None or found.scale is None else len(found.scale)
        return tensors[index].type, scales, 0 if found is None else found.detailsType

    code = model.operatorCodes[operator.opcodeIndex]
    used = [tuple(told(int(i)) for i in indices if i >= 0) for indices in (operator.inputs, operator.outputs)]
    return max(code.builtinCode, code.deprecatedBuiltinCode), code.version, *used


def _reduce(model: Any, place: int) -> list[int]:
    """Leave one operator in a model; returns which tensors of the net are now its inputs."""
    graph = model.subgraphs[0]
    operator = graph.operators[place]
    tensors = graph.tensors
    used = list(dict.fromkeys(int(i) for i in [*operator.inputs, *operator.outputs] if i >= 0))
    used += [index for index in _scales_of_blocks(tensors, used) if index not in used]
    filled = {i for i in used if _is_constant(model, tensors[i])}
    given = [i for i in dict.fromkeys(int(i) for i in operator.inputs if i >= 0)
             if i not in filled and not tensors[i].isVariable]  # fmt: skip
    if not given:  # a runtime would have its answer before it is asked
        given = [i for i in map(int, operator.inputs) if tensors[i].type not in PACKED][:1]
        for index in given:
            tensors[index].buffer = 0
    new = {old: index for index, old in enumerate(used)}
    for details in (tensors[i].quantization.details for i in used if _in_blocks(tensors[i])):
        details.scales = new[details.scales]
        details.zeroPoints = new.get(details.zeroPoints, details.zeroPoints)
    graph.tensors = [tensors[i] for i in used]
    graph.operators = [operator]
    graph.inputs = [new[i] for i in given]
    graph.outputs = [new[int(i)] for i in operator.outputs]
    operator.inputs = [new[int(i)] if i >= 0 else -1 for i in operator.inputs]
    operator.outputs = graph.outputs
    model.signatureDefs = model.metadata = model.metadataBuffer = None
    code = model.operatorCodes[operator.opcodeIndex]
    if (
        max(code.builtinCode, code.deprecatedBuiltinCode) not in tflite_file.CONTROL
    ):  # which need the other graphs
        model.operatorCodes, operator.opcodeIndex = [code], 0
        model.subgraphs = [graph]
        _keep_buffers(model, graph)
    return given


def _in_blocks(tensor: Any) -> bool:
    return type(getattr(tensor.quantization, "details", None)).__name__ == "BlockwiseQuantizationT"


def _scales_of_blocks(tensors: Any, used: Sequence[int]) -> list[int]:
    """The tensors that hold the scales and zero points of those that are quantized in blocks."""
    each = [tensors[i].quantization.details for i in used if _in_blocks(tensors[i])]
    return [index for found in each for index in (found.scales, found.zeroPoints) if index > 0]


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _keep_buffers(model: Any, graph: Any) -> None:
    """Only what the tensors that are left need; 0 is the empty one."""
    empty = model.buffers[0]
    kept = [empty]
    for tensor in graph.tensors:
        if _is_constant(model, tensor):
            kept.append(model.buffers[tensor.buffer])
            tensor.buffer = len(kept) - 1
        else:
            tensor.buffer = 0
    model.buffers = kept
