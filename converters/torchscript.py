"""TorchScript: only where the user trusts who made it, and only to ONNX, by PyTorch's older exporter.

The rule: TorchScript is a program that may read and write files. It doesn't say what its inputs are: the first
sample of the data does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from agent.contract.manifest import TensorSpec
from converters import onnx_file
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.onnx_file import IR_VERSION, OPSET, OnnxFile
from converters.onnx_model import finish
from converters.run_set import store
from converters.source import SourceFormat
from converters.torch_export import BATCH, last_line, layout_notes, run


class TorchScript:
    """See `converters.models.Model`.

    Args:
        path: the file, which is trusted.
        sample: one sample `[1, ...]` as the model takes it, or None where there are no data.
        stage: measures.
    """

    def __init__(self, path: Path, sample: NDArray[Any] | None, stage: Staged) -> None:
        self.path = path
        if sample is None:
            raise ModelUnsupported(
                path=path,
                target="an artifact for boards",
                reason="a TorchScript file doesn't say what its inputs are",
                way_out="give --calibration or --eval data, whose samples say it",
            )
        with stage("start PyTorch"):
            import torch
        self.versions: Mapping[str, str] = {"torch": torch.__version__}
        self.answered_by = f"torch {torch.__version__}"
        self.can_answer = True
        self.inputs: tuple[TensorSpec, ...] = (
            TensorSpec(name="x", dtype=str(sample.dtype), shape=(-1, *sample.shape[1:])),
        )
        with stage("load the model"):
            try:
                self._module = torch.jit.load(str(path), map_location="cpu").eval()
            except RuntimeError as error:
                raise ModelUnreadable(
                    path=path, format=SourceFormat.TORCHSCRIPT.label, reason=last_line(error)
                ) from error
            self.outputs = self._outputs(sample)
        self.probabilities = self._ends_in_softmax()

    def _outputs(self, sample: NDArray[Any]) -> tuple[TensorSpec, ...]:
        try:
            answers = run(self._module, [sample], 1)
        except RuntimeError as error:
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason=f"it does not take samples of {sample.dtype} {list(sample.shape)}: {last_line(error)}",
                way_out="give data as the model takes them",
            ) from error
        return tuple(
            TensorSpec(name=f"output_{index}", dtype=str(array.dtype), shape=(-1, *array.shape[1:]))
            for index, array in enumerate(answers)
        )

    def _ends_in_softmax(self) -> bool:
        graph = self._module.inlined_graph  # a node is gone with its graph
        maker = next(graph.outputs()).node()
        return str(maker.kind()) == "aten::softmax"

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by PyTorch."""
        return run(self._module, [store(inputs[0], self.inputs[0])], BATCH)

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        with stage("convert to ONNX", target.key):
            proto = self._to_onnx(target, folder / f"{target.key}.exported.onnx")
        return finish(
            onnx_file.for_boards(OnnxFile(proto=proto, notes=layout_notes(self.inputs))),
            target,
            calibration,
            folder,
            stage,
            source=self.path,
            settings={"converter": "torch.onnx, from TorchScript"},
        )

    def _to_onnx(self, target: Target, path: Path) -> Any:
        import onnx
        import torch

        names = [*(spec.name for spec in self.inputs), *(spec.name for spec in self.outputs)]
        example = torch.from_numpy(np.zeros((1, *self.inputs[0].shape[1:]), self.inputs[0].dtype))
        try:
            torch.onnx.export(
                self._module,
                (example,),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=names[:1],
                output_names=names[1:],
                dynamic_axes={name: {0: "batch"} for name in names},
            )
        except Exception as error:  # the exporter wraps whatever its parts raise
            raise ModelUnsupported(
                path=self.path,
                target=target.title,
                reason=f"PyTorch's exporter of TorchScript says: {last_line(error)}",
                way_out="save the model by torch.export.save as .pt2: attention and transformers need that",
            ) from error
        proto = onnx.load(str(path))
        path.unlink()
        proto.ir_version = IR_VERSION
        return proto
