"""Inference engines behind one small interface.

The rule: an engine's library is imported only when a model needs it, and its exceptions never get out: they become
`EngineMissing`, `EngineRefusesModel` or `InferenceFailed`. An engine may kill the process on a bad model; whoever
tries one that was never run does it in a child process. An engine is used by one thread at a time, but where it
says otherwise.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.errors import EngineMissing
from agent.contract.manifest import EngineName, ModelFormat, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Sequence[NDArray[Any]]

PACKAGES: Mapping[EngineName, str] = {
    EngineName.LITERT: "ai_edge_litert",
    EngineName.TFLITE_RUNTIME: "tflite_runtime",
    EngineName.ONNXRUNTIME: "onnxruntime",
}
FORMATS: Mapping[ModelFormat, tuple[EngineName, ...]] = {
    ModelFormat.TFLITE: (EngineName.LITERT, EngineName.TFLITE_RUNTIME),
    ModelFormat.ONNX: (EngineName.ONNXRUNTIME,),
}


class Engine(Protocol):
    """One loaded model.

    Attributes:
        name, version: of the library.
        inputs, outputs: the tensors as the engine sees them, axis 0 the batch; -1 where any length is taken.
        concurrent: several threads may run it at once.
    """

    name: EngineName
    version: str
    concurrent: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, arrays: Arrays) -> list[NDArray[Any]]:
        """Run the model.

        Args:
            arrays: one array per input, in the order of `inputs`, of its element type and shape, C-contiguous.

        Returns:
            One array per output, owned by the caller.

        Raises:
            InferenceFailed: the engine said no.
        """
        ...

    def close(self) -> None:
        """Give back what the model holds. It can't be run afterwards."""
        ...


def choose(model_format: ModelFormat, allowed: Mapping[str, str]) -> EngineName:
    """The engine for an artifact: one that the manifest allows and that is installed.

    Args:
        model_format: the artifact's.
        allowed: engine name to least version, as in the manifest's requirements.

    Raises:
        EngineMissing: none of those is in this runtime.
    """
    fit = [name for name in FORMATS.get(model_format, ()) if name.value in allowed]
    for name in fit:
        if importlib.util.find_spec(PACKAGES[name]) is not None:
            return name
    raise EngineMissing(
        engine=" or ".join(name.value for name in fit) or ", ".join(allowed) or model_format.value
    )


def load_library(name: EngineName) -> str:
    """Import an engine's library and return its version, so that its own memory is not counted as a model's.

    Raises:
        EngineMissing: it is not in this runtime, or can't be loaded on this machine.
    """
    try:
        if name is EngineName.ONNXRUNTIME:
            from agent.engines import onnx

            return onnx.version()
        from agent.engines import tflite

        return tflite.library(name).version
    except (ImportError, OSError) as error:
        raise EngineMissing(engine=f"{name.value} ({error})") from error


def open_engine(name: EngineName, path: Path, *, model: str = "the model", threads: int = 1) -> Engine:
    """Load the model file `path`, whose digest the caller has verified. `model`: its name, for sentences.

    Raises:
        EngineMissing: the library is not in this runtime.
        EngineRefusesModel: the library does not take the file.
    """
    load_library(name)
    if name is EngineName.ONNXRUNTIME:
        from agent.engines.onnx import OnnxEngine

        return OnnxEngine(path, model=model, threads=threads)
    from agent.engines.tflite import TfliteEngine

    return TfliteEngine(name, path, model=model, threads=threads)
