"""A `.tflite` net becomes models of one operator each.

The rule: an operator is run on the numbers that it met in its net, with its own options, constants and states, so that
what differs between runtimes is the operator and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import tflite_file

IDENTIFIER = b"TFL3"


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
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.schema_py_generated import ModelT

    interpreter = Interpreter(model_content=net, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
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


def with_version(model: bytes, version: int) -> bytes:
    """The same model of one operator, stamped with another version of it."""
    from ai_edge_litert.schema_py_generated import ModelT

    changed = ModelT.InitFromPackedBuf(model, 0)
    changed.operatorCodes[changed.subgraphs[0].operators[0].opcodeIndex].version = version
    return packed(changed)


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
    filled = {i for i in used if _is_constant(model, tensors[i])}
    given = [i for i in dict.fromkeys(int(i) for i in operator.inputs if i >= 0)
             if i not in filled and not tensors[i].isVariable]  # fmt: skip
    new = {old: index for index, old in enumerate(used)}
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
