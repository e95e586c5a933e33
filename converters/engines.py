"""The engines of this process: what shows that an artifact loads and runs before it goes to its proof.

The rule: it is a first look only. What counts is the proof environment with the board's exact engine version.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import ModelFormat
from converters.extras import installed

Arrays = list[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One artifact, loaded.

    Attributes:
        title: like `ai-edge-litert 2.3.0`.
        answer: arrays `[N, ...]` of the input tensors to those of the output tensors, in the engine's dtypes.
    """

    title: str
    answer: Callable[[Sequence[NDArray[Any]]], Arrays]

    @staticmethod
    def for_file(path: Path, kind: ModelFormat) -> Engine | None:
        """Load a file, or None where this process has nothing that could."""
        if kind is ModelFormat.ONNX:
            return onnx_engine(path) if installed("onnxruntime") else None
        return tflite_engine(path)


def tflite_engine(path: Path, *, may_start_tensorflow: bool = True) -> Engine | None:
    """LiteRT where it is installed, else TensorFlow's interpreter.

    Args:
        path: a `.tflite` file.
        may_start_tensorflow: TensorFlow may be started for it.
    """
    if installed("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        title = f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
    elif may_start_tensorflow and installed("tensorflow"):
        import tensorflow

        Interpreter, title = tensorflow.lite.Interpreter, f"tensorflow {tensorflow.__version__}"  # noqa: N806
    else:
        return None
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return Engine(title=title, answer=lambda inputs: _answer_tflite(interpreter, inputs))


def _answer_tflite(interpreter: Any, inputs: Sequence[NDArray[Any]]) -> Arrays:
    details = interpreter.get_input_details()
    _resize_open_axes(interpreter, details, inputs)
    places = [item["index"] for item in interpreter.get_output_details()]
    found: list[Arrays] = [[] for _ in places]
    for sample in range(len(inputs[0])):
        for item, array in zip(details, inputs, strict=True):
            interpreter.set_tensor(item["index"], array[sample : sample + 1])
        interpreter.reset_all_variables()
        interpreter.invoke()
        for answers, place in zip(found, places, strict=True):
            answers.append(np.array(interpreter.get_tensor(place)))
    return [np.concatenate(answers) for answers in found]


def _resize_open_axes(interpreter: Any, details: Any, inputs: Sequence[NDArray[Any]]) -> None:
    """Give open axes the length that the samples have."""
    changed = False
    for item, array in zip(details, inputs, strict=True):
        wanted = [1, *array.shape[1:]]
        if list(item["shape"]) != wanted:
            interpreter.resize_tensor_input(item["index"], wanted)
            changed = True
    if changed:
        interpreter.allocate_tensors()


def onnx_engine(model: Path | bytes) -> Engine:
    """ONNX Runtime on the CPU, for a file or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    given = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return Engine(
        title=f"onnxruntime {onnxruntime.__version__}",
        answer=lambda inputs: _answer_onnx(session, inputs),
    )


def _answer_onnx(session: Any, inputs: Sequence[NDArray[Any]]) -> Arrays:
    """One by one: a file whose batch axis is open may still hold a reshape that is not."""
    names = [node.name for node in session.get_inputs()]
    found: list[Arrays] = [[] for _ in session.get_outputs()]
    for sample in range(len(inputs[0])):
        feed = {name: array[sample : sample + 1] for name, array in zip(names, inputs, strict=True)}
        for answers, array in zip(found, session.run(None, feed), strict=True):
            answers.append(array)
    return [np.concatenate(answers) for answers in found]
