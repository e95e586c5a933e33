"""Two artifacts layer by layer, in a process of its own: `python -m converters.layers REQUEST ANSWER`.

The rule: two layers are the same where the tensors that they make have one name, as converters and quantizers of one
format keep them; outputs are the same by their place, whatever they are called. Integers count as the real numbers
that they stand for. The engines' own optimizers are off, or there would be no layers to see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.codec import decode, encode
from agent.contract.errors import DataMismatch, EdgeError
from agent.contract.manifest import TensorSpec
from agent.transforms.golden import unpack
from converters import onnx_file, tflite_file
from converters.calibration.data import CALIBRATION, evenly
from converters.calibration.read import read
from converters.calibration.source import DataSource
from converters.metrics.scores import ratio_db
from converters.run_set import store

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerDifference:
    """How much of a layer's output is the same in two artifacts.

    Attributes:
        name: of the tensor that it makes, in the first artifact.
        kind: of the operator, like `CONV_2D` or `Conv`.
        sqnr_db: ratio of the first's values to the difference, over all samples, in dB; 200 where there is none.
    """

    name: str
    kind: str
    sqnr_db: float


@dataclass(frozen=True)
class LayerRequest:
    """What is asked of the process.

    Attributes:
        first, second: artifacts, `.tflite` or `.onnx`; the first is what the second is measured by.
        samples: how many at most, spread evenly.
        inputs: `.npz` of `input_k`, real numbers; not read where `data` say what to read.
        data: the user's, or None.
    """

    first: str
    second: str
    samples: int
    inputs: str = ""
    data: DataSource | None = None


@dataclass(frozen=True)
class LayerAnswer:
    """What the process found: on how many samples, and each layer that both have in the first's order."""

    samples: int
    layers: tuple[LayerDifference, ...]


@dataclass(frozen=True)
class Traced:
    """An artifact whose every tensor can be seen.

    Attributes:
        inputs: its input tensors.
        outputs: names of its output tensors.
        kinds: name of each tensor that an operator makes, to the operator, in the order of the file.
        run: stored values of one sample, `[1, ...]` an input, to the tensors as real numbers.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    kinds: Mapping[str, str]
    run: Callable[[Sequence[Array]], Mapping[str, Array]]


def trace(path: Path) -> Traced:
    """Load an artifact, by its suffix."""
    return _onnx(path) if path.suffix == ".onnx" else _tflite(path)


def differences(first: Traced, second: Traced, inputs: Sequence[Array]) -> list[LayerDifference]:
    """Each layer that both have, in the first's order, and the outputs.

    Args:
        first: what the second is measured by.
        second: the other artifact.
        inputs: real numbers, `[N, ...]` an input.

    Raises:
        DataMismatch: the inputs, or the two artifacts, do not fit.
    """
    _check(first, second, inputs)
    pairs = {name: name for name in first.kinds if name in second.kinds}
    pairs |= dict(zip(first.outputs, second.outputs, strict=True))
    sums = {name: np.zeros(2) for name in pairs}
    for sample in range(len(inputs[0])):
        one, other = (_run(traced, inputs, sample) for traced in (first, second))
        for name, there in pairs.items():
            expected, found = one.get(name), other.get(there)
            if expected is None or found is None or expected.shape != found.shape:
                sums.pop(name, None)
            elif name in sums:
                sums[name] += (np.sum(expected**2), np.sum((found - expected) ** 2))
    return [
        LayerDifference(name, first.kinds.get(name, "input"), ratio_db(*sums[name]))
        for name in (*(name for name in first.kinds if name in sums), *(set(sums) - set(first.kinds)))
    ]


def _run(traced: Traced, inputs: Sequence[Array], sample: int) -> Mapping[str, Array]:
    given = zip(inputs, traced.inputs, strict=True)
    return traced.run([store(array[sample : sample + 1], spec) for array, spec in given])


def _check(first: Traced, second: Traced, inputs: Sequence[Array]) -> None:
    shapes = [[list(spec.shape[1:]) for spec in traced.inputs] for traced in (first, second)]
    given = [list(array.shape[1:]) for array in inputs]
    if len(first.outputs) != len(second.outputs) or shapes[0] != shapes[1]:
        raise DataMismatch(
            purpose="comparison",
            path="the second artifact",
            reason=f"it takes {shapes[1]} and gives {len(second.outputs)} tensors",
            expected=f"{shapes[0]} and gives {len(first.outputs)} in the first",
        )
    if len(given) != len(shapes[0]) or any(
        len(shape) != len(told)
        or any(length not in (-1, there) for length, there in zip(told, shape, strict=True))
        for shape, told in zip(given, shapes[0], strict=True)
    ):
        raise DataMismatch(
            purpose="comparison", path="the data", reason=f"they are {given}", expected=f"{shapes[0]}"
        )


def _tflite(path: Path) -> Traced:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from ai_edge_litert.tools import flatbuffer_utils

    described, model = tflite_file.read(path), flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    titles = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
    kinds, places = {}, {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        for place in operator.outputs:
            name = graph.tensors[place].name.decode(errors="replace")
            kinds[name] = titles.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
            places[name] = place
    interpreter = Interpreter(
        model_path=str(path),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    takes = [item["index"] for item in interpreter.get_input_details()]

    def run(inputs: Sequence[Array]) -> dict[str, Array]:
        for place, array in zip(takes, inputs, strict=True):
            interpreter.set_tensor(place, array)
        interpreter.reset_all_variables()
        interpreter.invoke()
        found = {}
        for name, place in places.items():
            real = _real(interpreter.get_tensor(place), details[place]["quantization_parameters"])
            if real is not None:
                found[name] = real
        return found

    outputs = [details[item["index"]]["name"] for item in interpreter.get_output_details()]
    return Traced(described.inputs, tuple(outputs), kinds, run)


def _real(array: Array, quantization: Mapping[str, Array]) -> Array | None:
    """What a tensor's values stand for; None where they are no quantities, like indices."""
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    scales = quantization["scales"]
    if len(scales) != 1:
        return None
    real: Array = (array.astype(np.float64) - quantization["zero_points"][0]) * float(scales[0])
    return real


def _onnx(path: Path) -> Traced:
    import onnx
    import onnxruntime

    proto = onnx_file.read(path).proto
    inputs, outputs = onnx_file.inputs(proto), tuple(value.name for value in proto.graph.output)
    kinds = {name: node.op_type for node in proto.graph.node for name in node.output if name}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in kinds if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]

    def run(given: Sequence[Array]) -> dict[str, Array]:
        feed = {spec.name: array for spec, array in zip(inputs, given, strict=True)}
        found = zip(names, session.run(None, feed), strict=True)
        return {
            name: value.astype(np.float64)
            for name, value in found
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        }

    return Traced(inputs, outputs, kinds, run)


def main(request: Path, answer: Path) -> int:
    """Read what is asked; write what was found, or the error."""
    try:
        answer.write_bytes(encode(_found(decode(LayerRequest, request.read_bytes()))))
    except EdgeError as error:
        answer.write_text(json.dumps({"error": error.to_plain()}))
        return 1
    return 0


def _found(asked: LayerRequest) -> LayerAnswer:
    first, second = trace(Path(asked.first)), trace(Path(asked.second))
    if asked.data is not None:
        # Labels that the data may have are not asked for.
        inputs = read(asked.data, first.inputs, steps=asked.data.steps or (), purpose=CALIBRATION).inputs
    else:
        arrays = unpack(Path(asked.inputs))
        inputs = tuple(arrays[f"input_{k}"] for k in range(len(arrays)))
    chosen = evenly(len(inputs[0]), asked.samples)
    layers = differences(first, second, [array[chosen] for array in inputs])
    return LayerAnswer(samples=len(chosen), layers=tuple(layers))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
