"""ONNX models in ONNX Runtime.

The rule: quiet and small. Threads that wait do not spin (an idle board stays cool), the memory arena is off (it
keeps the largest batch ever seen), and the model is opened by its path, so that its weights are not held twice.
Tensors that a model keeps in other files are not taken, whatever the library's version thinks of their paths: a
bundle's artifact is the one file that was verified.
And nobody else hears of it: the library's own telemetry (on by default since 1.32: an identifier and events in the
user's cache folder, sent to its maker) is switched off before it is loaded.
"""

from __future__ import annotations

import os
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.errors import EngineRefusesModel, InferenceFailed
from agent.contract.manifest import EngineName, TensorSpec
from agent.contract.onnx_places import external_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.engines import Arrays

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What may run a model, the best first; a wheel for the CPU knows only the last."""


NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Read by the library when it is loaded; `1` leaves out its uploader, its events and its identifier."""


def version() -> str:
    """Import the library and return its version."""
    os.environ[NO_TELEMETRY] = "1"
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return str(onnxruntime.__version__)


class OnnxEngine:
    """An ONNX Runtime session. See `agent.engines.Engine`."""

    name = EngineName.ONNXRUNTIME
    concurrent = True

    def __init__(self, path: Path, *, model: str, threads: int) -> None:
        os.environ[NO_TELEMETRY] = "1"
        import onnxruntime

        _refuse_other_files(path, str(onnxruntime.__version__))
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        available = onnxruntime.get_available_providers()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[name for name in PROVIDERS if name in available]
            )
            self.inputs = tuple(_spec(tensor) for tensor in self._session.get_inputs())
            self.outputs = tuple(_spec(tensor) for tensor in self._session.get_outputs())
        except (
            Exception
        ) as error:  # its exceptions are many classes of the extension, with no base of their own
            raise EngineRefusesModel(
                engine=self.name.value, version=self.version, file=path.name, reason=_reason(error, path)
            ) from error
        self._in = [spec.name for spec in self.inputs]
        self._out = [spec.name for spec in self.outputs]
        self._run = self._session.run
        self._model = model

    def run(self, arrays: Arrays) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = self._run(self._out, dict(zip(self._in, arrays)))  # noqa: B905 - hot
        except Exception as error:  # as above
            raise InferenceFailed(model=self._model, reason=_reason(error, Path())) from error
        return outputs

    def close(self) -> None:
        self._session = self._run = None


def _refuse_other_files(path: Path, version: str) -> None:
    reason = "it is no ONNX file"
    try:
        with (
            path.open("rb") as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as whole,
            memoryview(whole) as data,
        ):
            places = external_places(data)
            reason = f"its weights are to come from `{places[0]}`" if places else ""
    except (OSError, ValueError) as error:
        reason = f"{reason}: {error}"
    if reason:
        raise EngineRefusesModel(
            engine=EngineName.ONNXRUNTIME.value, version=version, file=path.name, reason=reason
        )


def _spec(tensor: Any) -> TensorSpec:
    if tensor.type not in DTYPES:
        raise ValueError(f"`{tensor.name}` is a {tensor.type}, which edge can't serve")
    shape = tuple(length if isinstance(length, int) and length >= 0 else -1 for length in tensor.shape)
    return TensorSpec(name=tensor.name, dtype=DTYPES[tensor.type], shape=shape)


def _reason(error: Exception, path: Path) -> str:
    """The first line of what the engine says, without folders: it goes into answers to clients."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text.replace(str(path.parent) + "/", "") if path.name else text
