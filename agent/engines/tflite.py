"""TFLite models in LiteRT, or in its elder tflite-runtime: the same interpreter under two names.

The rule: the interpreter is never resized, so its memory is settled when the model is loaded. It takes the batch
that the file was made with, which is 1 but for rare ones. What a recurrent layer remembers is forgotten before each
run: requests of different clients follow each other here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.contract.errors import EngineRefusesModel, InferenceFailed
from agent.contract.manifest import EngineName, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.engines import Arrays


@dataclass(frozen=True)
class Library:
    """The interpreter class of an installed library, and its version."""

    interpreter: Any
    version: str


def library(name: EngineName) -> Library:
    """Import the library.

    Raises:
        ImportError: it is not there, or what it needs is not.
        OSError: one of its shared objects can't be loaded.
    """
    if name is EngineName.LITERT:
        from ai_edge_litert.interpreter import Interpreter

        return Library(Interpreter, metadata.version("ai-edge-litert"))
    from tflite_runtime.interpreter import Interpreter as ElderInterpreter

    return Library(ElderInterpreter, metadata.version("tflite-runtime"))


class TfliteEngine:
    """A TFLite interpreter. See `agent.engines.Engine`."""

    concurrent = False

    def __init__(self, name: EngineName, path: Path, *, model: str, threads: int) -> None:
        found = library(name)
        self.name = name
        self._model = model
        self.version = found.version
        try:
            self._interpreter = found.interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise EngineRefusesModel(
                engine=name.value, version=self.version, file=path.name, reason=_first_line(error)
            ) from error
        self.inputs = tuple(_spec(detail) for detail in inputs)
        self.outputs = tuple(_spec(detail) for detail in outputs)
        self._in = [detail["index"] for detail in inputs]
        self._out = [detail["index"] for detail in outputs]

    def run(self, arrays: Arrays) -> list[NDArray[Any]]:
        interpreter = self._interpreter
        try:
            for index, array in zip(self._in, arrays):  # noqa: B905 - the caller checked the number; this is hot
                interpreter.set_tensor(index, array)
            interpreter.reset_all_variables()
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in self._out]
        except (ValueError, RuntimeError) as error:
            raise InferenceFailed(model=self._model, reason=_first_line(error)) from error

    def close(self) -> None:
        self._interpreter = None


def _spec(detail: dict[str, Any]) -> TensorSpec:
    parameters = detail["quantization_parameters"]
    single = len(parameters["scales"]) == 1
    return TensorSpec(
        name=str(detail["name"]),
        dtype=np.dtype(detail["dtype"]).name,
        shape=tuple(int(length) for length in detail["shape"]),
        scale=float(parameters["scales"][0]) if single else None,
        zero_point=int(parameters["zero_points"][0]) if single else None,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
