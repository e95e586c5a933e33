"""What in a TensorFlow SavedModel would touch more than numbers when it is loaded or run.

The rule: every operator of the graph and of its functions is judged before anything of it is loaded. Operators with
effects beyond the model's own variables are refused, all but a few that stand here, and those that read files though
TensorFlow calls them free of effects. Only the functions of the saver may save and restore: TensorFlow's loader does
not call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelHoldsCode, ModelUnreadable
from converters.source import SAVED_MODEL_FILE, SourceFormat

HARMLESS = {
    "AnonymousHashTable", "Assert", "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "Case",
    "DestroyResourceOp", "DisableCopyOnRead", "HashTableV2", "If", "LookupTableExportV2", "LookupTableFindV2",
    "LookupTableImportV2", "LookupTableSizeV2", "MutableHashTableV2", "Print", "RandomStandardNormal",
    "RandomUniform", "RandomUniformInt", "ReadVariableOp", "StatefulPartitionedCall", "StatefulRandomBinomial",
    "StatefulStandardNormalV2", "StatefulUniform", "TensorArrayCloseV3", "TensorArrayGatherV3",
    "TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayV3",
    "TensorArrayWriteV3", "TruncatedNormal", "VarHandleOp", "VarIsInitializedOp", "While",
}  # fmt: skip
"""Operators with effects on nothing but the model itself, and on the log."""
READERS = {"DecodeProtoV2", "EncodeProto", "MatchingFiles", "PyFuncStateless", "ReadFile"}
"""Operators that TensorFlow calls free of effects, and that read files or run code."""
READER_SUFFIXES = ("Dataset", "DatasetV2", "DatasetV3", "DatasetV4", "Reader", "ReaderV2")


def read_without_code(path: Path) -> Any:
    """The SavedModel's protocol buffer, judged. TensorFlow was started.

    Raises:
        ModelHoldsCode: an operator touches more than numbers.
        ModelUnreadable: it is none, or TensorFlow 1 wrote it.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / SAVED_MODEL_FILE).read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelUnreadable(path=path, format=SourceFormat.SAVED_MODEL.label, reason=str(error)) from error
    if len(proto.meta_graphs) != 1 or not proto.meta_graphs[0].HasField("object_graph_def"):
        raise ModelUnreadable(
            path=path,
            format=SourceFormat.SAVED_MODEL.label,
            reason="TensorFlow 1 wrote it, or it holds several graphs: save it with tf.saved_model.save",
        )
    for operator in _operators(proto.meta_graphs[0]):
        if reason := _objection(operator):
            raise ModelHoldsCode(path=path, reason=reason)
    return proto.meta_graphs[0]


def _objection(operator: str) -> str | None:
    """Why an operator is refused; None where it is not."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(operator)
    if definition is None:
        return f"the operator `{operator}`, which is none of TensorFlow's"
    if operator in READERS or operator.endswith(READER_SUFFIXES):
        return f"the operator `{operator}`, which reads files or runs code"
    if definition.is_stateful and operator not in HARMLESS:
        return f"the operator `{operator}`, which reaches beyond the model"
    return None


def _operators(meta: Any) -> set[str]:
    """Names of all operators, but for those in functions that the saver alone calls."""
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    names = {name.partition(":")[0].lstrip("^") for name in _saver_names(meta.saver_def)}
    saver = [node for node in meta.graph_def.node if node.name in names]
    others = [node for node in meta.graph_def.node if node.name not in names]
    called = {name for node in saver for name in _functions_of(node)}
    called |= set(_reachable(called, functions))
    kept = {name for name in functions if name not in called} | set(meta.object_graph_def.concrete_functions)
    kept |= {name for node in others for name in _functions_of(node)}
    kept |= set(_reachable(kept, functions))
    nodes = [*others, *(node for name in kept if name in functions for node in functions[name].node_def)]
    return {node.op for node in nodes}


def _saver_names(saver: Any) -> Iterator[str]:
    yield from (saver.save_tensor_name, saver.restore_op_name)


def _functions_of(node: Any) -> Iterator[str]:
    """Functions that a node calls."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _reachable(names: Iterable[str], functions: dict[str, Any]) -> set[str]:
    """All functions that these call, however deep."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in functions and name not in found:
            found.add(name)
            todo.extend(inner for node in functions[name].node_def for inner in _functions_of(node))
    return found
