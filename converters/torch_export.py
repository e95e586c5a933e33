"""PyTorch programs as torch.export wrote them (`.pt2`): to ONNX by PyTorch's exporter, to TFLite by litert-torch.

The rule: the file is judged before PyTorch sees it, and PyTorch unpickles nothing but tensors. The layout stays the
model's own: pictures are NCHW on the board too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from agent.contract.manifest import ModelFormat, TensorSpec
from converters import onnx_file
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.onnx_file import OnnxFile
from converters.onnx_model import finish
from converters.run_set import store
from converters.source import SourceFormat
from converters.torch_code import without_code

BATCH = 64
EXPORT_OPSET = 18
"""The oldest that the exporter writes itself; what it is asked for below that it converts afterwards, or does not."""


class TorchExport:
    """See `converters.models.Model`."""

    def __init__(self, path: Path, stage: Staged) -> None:
        self.path = path
        packed = without_code(path)
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # its loader unpickles everything where that fails
        with stage("start PyTorch"):
            import torch
        self.versions: Mapping[str, str] = {"torch": torch.__version__}
        self.answered_by = f"torch {torch.__version__}"
        self.can_answer = True
        with stage("load the model"):
            try:
                self.program = torch.export.load(packed)
            except Exception as error:  # the loader raises whatever the part that it can't read raises
                reason = " ".join(str(error).split())[:300]
                raise ModelUnreadable(
                    path=path, format=SourceFormat.TORCH_EXPORT.label, reason=reason
                ) from error
            self._module = self.program.module()
        self.inputs, self.outputs = _specs(self.program)
        self.probabilities = _ends_in_softmax(self.program)
        self._refuse_shapes()

    def _refuse_shapes(self) -> None:
        wrong = [
            spec
            for spec in self.inputs
            if not spec.shape or spec.shape[0] not in (1, -1) or min(spec.shape[1:], default=1) < 0
        ]
        if wrong or not self.inputs:
            shapes = ", ".join(f"`{spec.name}` {list(spec.shape)}" for spec in wrong) or "nothing"
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason=f"it takes {shapes}: only the first axis may be open, and else must be 1",
                way_out="export it with an example of batch 1, or with dynamic_shapes for the batch alone",
            )

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by PyTorch."""
        given = [store(array, spec) for array, spec in zip(inputs, self.inputs, strict=True)]
        size = 1 if any(spec.shape[0] == 1 for spec in self.inputs) else BATCH
        return run(self._module, given, size)

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        if target.format is ModelFormat.TFLITE:
            from converters.torch_to_tflite import to_tflite

            notes = layout_notes(self.inputs)
            example, given = self.example(), self.path
            return to_tflite(
                self._module, example, target, calibration, folder, stage, source=given, notes=notes
            )
        with stage("convert to ONNX", target.key):
            file = onnx_file.for_boards(
                OnnxFile(proto=self._to_onnx(target), notes=layout_notes(self.inputs))
            )
        return finish(
            file, target, calibration, folder, stage, source=self.path, settings={"converter": "torch.onnx"}
        )

    def example(self) -> tuple[Any, ...]:
        """Zeros of the inputs' shapes, batch 1."""
        import torch

        return tuple(
            torch.zeros(1, *spec.shape[1:], dtype=getattr(torch, spec.dtype)) for spec in self.inputs
        )

    def _to_onnx(self, target: Target) -> Any:
        import torch

        try:
            made = torch.onnx.export(
                self.program,
                self.example(),
                dynamo=True,
                opset_version=EXPORT_OPSET,
                input_names=[spec.name for spec in self.inputs],
                output_names=[spec.name for spec in self.outputs],
                verbose=False,
            )
        except Exception as error:  # the exporter wraps whatever its parts raise
            raise ModelUnsupported(
                path=self.path,
                target=target.title,
                reason=f"PyTorch's exporter says: {last_line(error)}",
                way_out="export the model without what it names",
            ) from error
        return made.model_proto


def run(module: Any, inputs: Sequence[NDArray[Any]], size: int) -> list[NDArray[Any]]:
    """Outputs `[N, ...]` of a PyTorch module for arrays `[N, ...]`, `size` samples at a time."""
    import torch

    found: list[list[NDArray[Any]]] = []
    with torch.no_grad():
        for at in range(0, len(inputs[0]), size):
            batch = [torch.from_numpy(np.ascontiguousarray(array[at : at + size])) for array in inputs]
            answers = module(*batch)
            tensors = list(answers) if isinstance(answers, tuple | list) else [answers]
            found.append([tensor.numpy() for tensor in tensors])
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def layout_notes(inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What a person should know of a model that takes pictures."""
    if any(len(spec.shape) == 4 for spec in inputs):
        return ("it comes from PyTorch: its pictures are NCHW, the channels before height and width",)
    return ()


def last_line(error: Exception) -> str:
    """The end of an error whose text is a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]


def _specs(program: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs; open axes are -1."""
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    taken, given = (
        tuple(_spec(name, nodes[name].meta["val"]) for name in names if name in nodes)
        for names in (signature.user_inputs, signature.user_outputs)
    )
    return taken, given


def _spec(name: str, value: Any) -> TensorSpec:
    shape = tuple(int(axis) if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorSpec(name=name, dtype=str(value.dtype).removeprefix("torch."), shape=shape)


def _ends_in_softmax(program: Any) -> bool:
    first = program.graph_signature.user_outputs[0]
    makers = (node for node in program.graph.nodes if node.name == first)
    return any(str(node.target) in ("aten.softmax.int", "aten._softmax.default") for node in makers)
