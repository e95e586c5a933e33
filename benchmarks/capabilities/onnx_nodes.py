"""Models of one node: each operator, in each of its versions, on each type.

The rule: examples come from the ONNX package itself (its own tests of every operator, with inputs that make sense),
put into each opset in which they are valid, and onto each other type that the operator's schema allows. What the
standard does not hold, and quantizers write, stands in `onnx_contrib`; what it held once, in `onnx_older`.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.capabilities.probes import Probe
from converters.onnx_operators import bodies_of, joined, type_name

LEAST_OPSET = 7
"""ONNX Runtime does not promise anything below."""
FIRST_IR = 3
EXAMPLES = 2
"""So many of the same operator on the same types: they differ in their attributes, of which some are not built."""
USUAL = {"float32", "float16", "int8", "uint8", "int32", "int64", "bool", "string", ">"}
WIDE = {"float64", "int16", "uint16"}
"""Types that boards' models hold, and those that a few of their operators do."""
WIDELY_TYPED = (
    "Cast",
    "Resize",
    "Relu",
    "MatMul",
    "Conv",
    "Add",
    "Mul",
    "QuantizeLinear",
    "DequantizeLinear",
)
TYPES = ("float", "float16", "double", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool")
"""That an operator is tried on beside what its examples hold."""
FED = {np.dtype(name) for name in ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32",
                                   "uint32", "int64", "uint64", "bool")}  # fmt: skip
"""What every runtime takes as an input; other types are put into the model."""
INDICES = {"tensor(int32)", "tensor(int64)"}
TOLERANCES = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-3}
DOMAINS = ("", "ai.onnx.ml")

Node = tuple[Any, list[NDArray[Any]], list[int]]
"""A node, one array an input, and the element type of each output."""


def probes(folder: Path) -> list[Probe]:
    """Write every probe; the same ones in the same order each time."""
    from benchmarks.capabilities import onnx_contrib, onnx_older

    found: dict[tuple[str, int, str], list[Probe]] = {}
    examples: dict[tuple[str, str], list[Node]] = {}
    for node, arrays, outputs, opset in itertools.chain(onnx_contrib.nodes(), onnx_older.nodes()):
        since = _since(node, opset)
        if since:
            _add(found, folder, node, arrays, outputs, opset=opset, since=since)
    for node, arrays, outputs in _examples():
        examples.setdefault((node.domain, node.op_type), []).append((node, arrays, outputs))
    for (domain, name), nodes in sorted(examples.items()):
        for schema in _schemas(domain, name):
            opset = max(schema.since_version, LEAST_OPSET if not domain else 1)
            for node, arrays, outputs in [*nodes, *_retyped(schema, nodes)]:
                _add(found, folder, node, arrays, outputs, opset=opset, since=schema.since_version)
    return [probe for each in found.values() for probe in each]


def limits(folder: Path) -> list[Probe]:
    """One node in every opset, and in every IR: what a runtime takes at all."""
    made = []
    newest = onnx.defs.onnx_opset_version()
    node = helper.make_node("Add", ["x", "x"], ["y"])
    one = [np.ones(3, np.float32)]
    for opset in range(LEAST_OPSET, newest + 1):
        model = _model(
            node,
            one,
            [TensorProto.FLOAT],
            opset,
            ir=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
        )
        made.append(_write(folder, f"opset-{opset:02}", ("opset", opset, ""), model, one))
    for ir in range(FIRST_IR, onnx.IR_VERSION + 1):
        model = _model(node, one, [TensorProto.FLOAT], LEAST_OPSET, ir=ir)
        made.append(_write(folder, f"ir-{ir:02}", ("ir", ir, ""), model, one))
    return made


def _examples() -> Iterator[Node]:
    """The standard's own, one node and plain arrays each."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        cases = sorted(collect_testcases(None), key=lambda case: case.name)
    for case in cases:
        graph = case.model.graph
        if len(graph.node) != 1 or not case.data_sets or case.model.functions:
            continue
        node = graph.node[0]
        inputs = [np.asarray(a) if isinstance(a, np.generic) else a for a in case.data_sets[0][0]]
        types = [value.type.tensor_type.elem_type for value in graph.output]
        if node.domain in DOMAINS and all(isinstance(a, np.ndarray) for a in inputs) and all(types):
            given = [name for name in node.input if name]
            if len(given) == len(inputs) and all(a.dtype.kind not in "OUSc" for a in inputs):
                yield node, inputs, types


def _since(node: Any, opset: int) -> int:
    """The opset in which a node was last changed; 0 where that opset does not have it."""
    if node.domain not in DOMAINS:
        return 1
    try:
        return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def _schemas(domain: str, name: str) -> list[Any]:
    """The versions of an operator, oldest first, of which one or more are used from opset 7 on."""
    found = sorted(
        (s for s in onnx.defs.get_all_schemas_with_history() if (s.domain, s.name) == (domain, name)),
        key=lambda schema: schema.since_version,
    )
    newer = [schema.since_version for schema in found[1:]] + [10**6]
    return [
        schema
        for schema, end in zip(found, newer, strict=True)
        if (domain or end > LEAST_OPSET) and not schema.deprecated
    ]


def _retyped(schema: Any, nodes: Sequence[Node]) -> Iterator[Node]:
    """The first example of each number of inputs, on the other types that the schema allows."""
    first = {len(arrays): (node, arrays, outputs) for node, arrays, outputs in reversed(nodes)}
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    for _, (node, arrays, outputs) in sorted(first.items()):
        if len(node.input) != len(arrays):
            continue
        ins = [_variable(schema.inputs, place) for place in range(len(arrays))]
        outs = [_variable(schema.outputs, place) for place in range(len(outputs))]
        free = sorted(set(ins) & set(allowed))
        indices = [variable for variable in free if allowed[variable] == INDICES]
        for variable in free:
            for kind in (kind for kind in TYPES if f"tensor({kind})" in allowed[variable]):
                for width in ("int32", "int64") if indices else ("",):
                    wanted = {**dict.fromkeys(indices, width), variable: kind}
                    yield node, *_cast(arrays, outputs, ins, outs, wanted)


def _variable(formal: Any, place: int) -> str:
    """The type variable of an input or output; those beyond the last are of its kind."""
    return str(formal[min(place, len(formal) - 1)].type_str)


def _cast(
    arrays: Sequence[NDArray[Any]],
    outputs: Sequence[int],
    ins: Sequence[str],
    outs: Sequence[str],
    wanted: Mapping[str, str],
) -> tuple[list[NDArray[Any]], list[int]]:
    """Arrays and element types with the wanted type for some variables."""
    elements = {
        variable: int(getattr(TensorProto, "FLOAT16" if kind == "float16" else kind.upper()))
        for variable, kind in wanted.items()
    }
    cast = [
        array.astype(helper.tensor_dtype_to_np_dtype(elements[variable])) if variable in elements else array
        for array, variable in zip(arrays, ins, strict=True)
    ]
    return cast, [elements.get(variable, out) for out, variable in zip(outputs, outs, strict=True)]


def _add(
    found: dict[tuple[str, int, str], list[Probe]],
    folder: Path,
    node: Any,
    arrays: list[NDArray[Any]],
    outputs: list[int],
    *,
    opset: int,
    since: int,
) -> None:
    """Write a probe unless there are enough that show the same, or the standard does not allow it."""
    given = joined(type_name(helper.np_dtype_to_tensor_dtype(array.dtype)) for array in arrays)
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    types = f"{given} > {joined(type_name(kind) for kind in outputs)}".strip()
    key = (name, since, "" if bodies_of(node) else types)
    if len(found.get(key, ())) == EXAMPLES or not _usual(name, types):
        return
    model = _model(node, arrays, outputs, opset)
    if node.domain in DOMAINS and not _allowed(model):
        return
    name = f"n{sum(map(len, found.values())):05}"
    fed = [array for array in arrays if array.dtype in FED]
    found.setdefault(key, []).append(_write(folder, name, key, model, fed))


def _usual(name: str, types: str) -> bool:
    """Whether a model for boards may hold such a node."""
    unusual = {*types.split()} - USUAL
    return not unusual or (unusual <= WIDE and ("." in name or name in WIDELY_TYPED))


def _allowed(model: Any) -> bool:
    """Whether the standard has such a node in that opset."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    try:
        onnx.checker.check_node(model.graph.node[0], context)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _model(node: Any, arrays: Sequence[NDArray[Any]], outputs: Sequence[int], opset: int, ir: int = 0) -> Any:
    names = list(dict.fromkeys(name for name in node.input if name))
    values, held = [], []
    for name, array in zip(names, arrays, strict=True):
        if array.dtype in FED:
            values.append(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            )
        else:
            held.append(numpy_helper.from_array(array, name))
    results = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in zip([n for n in node.output if n], outputs, strict=True)
    ]
    graph = helper.make_graph([node], "probe", values, results, held)
    domains = {"": opset if not node.domain else 17, node.domain: opset}
    ids = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    least = helper.find_min_ir_version_for(ids, ignore_unknown=True)
    return helper.make_model(
        graph, opset_imports=ids, ir_version=ir or max(least, 8 if opset < 19 else least)
    )


def _write(
    folder: Path, name: str, key: tuple[str, int, str], model: Any, arrays: Sequence[NDArray[Any]]
) -> Probe:
    path, inputs = folder / f"{name}.onnx", folder / f"{name}.inputs.npz"
    path.write_bytes(model.SerializeToString(deterministic=True))
    np.savez(inputs, **{f"input_{k}": array for k, array in enumerate(arrays)})
    widest = max((TOLERANCES.get(str(a.dtype), 0.0) for a in arrays), default=0.0)
    return Probe(name=name, key=key, model=path, inputs=inputs, tolerance=widest or 1e-3)
