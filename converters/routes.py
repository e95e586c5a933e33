"""The ways from a kind of model to a kind of artifact: what each needs, or why there is none.

The rule: this table is the one definition of what edge converts. What is not possible stands here with the reason
and the way out, which a person reads at run time and in the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.source import SourceFormat

ONNX, TFLITE = ModelFormat.ONNX, ModelFormat.TFLITE


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way.

    Attributes:
        modules: what the child process must be able to import.
        frameworks: environments that hold these too, the smallest first.
        program: framework whose environment runs one step of it, in a process of its own; empty where none does.
        reason: why there is no such way; empty where there is one.
        way_out: what to do instead.
    """

    modules: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    program: str = ""
    reason: str = ""
    way_out: str = ""


_KERAS = Route(modules=("tensorflow", "keras", "h5py"))
_KERAS_ONNX = Route(modules=("tensorflow", "keras", "h5py", "onnx", "onnxruntime", "tf2onnx"))
_SKLEARN = Route(modules=("sklearn", "skl2onnx", "onnx", "onnxruntime"), frameworks=("sklearn",))
_NO_SKLEARN = Route(
    reason="no converter makes TFLite of scikit-learn's models",
    way_out="take a profile whose boards run ONNX",
)
ROUTES = {
    (SourceFormat.KERAS, TFLITE): _KERAS,
    (SourceFormat.KERAS, ONNX): _KERAS_ONNX,
    (SourceFormat.KERAS_H5, TFLITE): _KERAS,
    (SourceFormat.KERAS_H5, ONNX): _KERAS_ONNX,
    (SourceFormat.SAVED_MODEL, TFLITE): Route(modules=("tensorflow",)),
    (SourceFormat.SAVED_MODEL, ONNX): Route(modules=("tensorflow", "onnx", "onnxruntime", "tf2onnx")),
    (SourceFormat.ONNX, TFLITE): Route(modules=("onnx", "onnxruntime"), program="onnx2tf"),
    (SourceFormat.ONNX, ONNX): Route(modules=("onnx", "onnxruntime")),
    (SourceFormat.TFLITE, TFLITE): Route(),
    (SourceFormat.TFLITE, ONNX): Route(
        reason="a .tflite file is the end of a conversion to TFLite, not a beginning of another",
        way_out="convert the model it was made from, or take a profile whose boards run TFLite",
    ),
    (SourceFormat.TORCH_EXPORT, TFLITE): Route(
        modules=("torch", "litert_torch", "ai_edge_litert"), frameworks=("litert-torch",)
    ),
    (SourceFormat.TORCH_EXPORT, ONNX): Route(
        modules=("torch", "onnxscript", "onnx", "onnxruntime"), frameworks=("torch", "litert-torch")
    ),
    (SourceFormat.TORCHSCRIPT, TFLITE): Route(
        reason="litert-torch takes what torch.export wrote and no TorchScript",
        way_out="save the model by torch.export.save as .pt2, or take a profile whose boards run ONNX",
    ),
    (SourceFormat.TORCHSCRIPT, ONNX): Route(
        modules=("torch", "onnx", "onnxruntime"), frameworks=("torch", "litert-torch")
    ),
    (SourceFormat.SKOPS, TFLITE): _NO_SKLEARN,
    (SourceFormat.SKOPS, ONNX): Route(modules=(*_SKLEARN.modules, "skops"), frameworks=("sklearn",)),
    (SourceFormat.PICKLE, TFLITE): _NO_SKLEARN,
    (SourceFormat.PICKLE, ONNX): _SKLEARN,
}


def route(source: SourceFormat, target: ModelFormat, *, path: object) -> Route:
    """The way from `source` to `target`.

    Raises:
        ModelUnsupported: there is none.
    """
    found = ROUTES[source, target]
    if found.reason:
        raise ModelUnsupported(path=path, target=target.value, reason=found.reason, way_out=found.way_out)
    return found
