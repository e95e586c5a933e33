"""TFLite files: taken as they are, or quantized where they are float.

The rule: what no board can run, and what is broken, is refused when the file is read, before anything is made of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from agent.transforms.quantization import dequantize
from converters import tflite_file
from converters.calibration.data import Data
from converters.engines import tflite_engine
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.requirements import tflite_uses
from converters.run_set import store

OF_TENSORFLOW = "Flex"
"""What the names of such operators begin with."""
ASSIGN_VARIABLE = 144
"""An operator that keeps something for the next run, where no interpreter can be told to forget it."""


class TFLiteModel:
    """See `converters.models.Model`. Its answers are its own artifact's."""

    def __init__(self, path: Path, stage: Staged, *, interpreter: bool) -> None:
        self.path = path
        self.described = tflite_file.read(path)
        self.inputs, self.outputs = self.described.inputs, self.described.outputs
        self.probabilities = self.described.softmax
        self._refuse_unusable()
        with stage("load the model"):
            try:
                self._engine = tflite_engine(path, may_start_tensorflow=interpreter)
            except (ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:300]
                raise ModelUnreadable(path=path, format="TFLite", reason=reason) from error
        self.can_answer = self._engine is not None
        self.answered_by = self._engine.title if self._engine else ""
        self.versions: Mapping[str, str] = {}

    def _refuse_unusable(self) -> None:
        foreign = [name for name in self.described.custom if name.startswith(OF_TENSORFLOW)]
        if foreign:
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason=f"it needs TensorFlow's own operators (SELECT_TF_OPS), which no board's runtime has: "
                f"{', '.join(foreign)}",
                way_out="convert it with built-in operators only, or take a profile whose boards run ONNX",
            )
        if any(operator.code == ASSIGN_VARIABLE for operator in self.described.operators):
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason="it keeps a variable from one run to the next, and each request to a board stands alone",
                way_out="give it what it keeps as an input and an output of its own",
            )
        tflite_uses(self.described, self.path)
        wrong = [spec for spec in self.inputs if not spec.shape or spec.shape[0] not in (1, -1)]
        if wrong or not self.inputs:
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason="its inputs don't begin with a batch of 1",
                way_out="convert it with a batch of 1",
            )

    def _refuse_quantized(self, target: Target) -> None:
        """Raise ModelUnsupported where a file that holds integers would be given out as one of floats."""
        integers = [operator.types for operator in self.described.operators if "/" in operator.types]
        if integers:
            raise ModelUnsupported(
                path=self.path,
                target=target.title,
                reason=f"it is quantized already: an operator in it takes {integers[0].partition(' >')[0]}",
                way_out="take it with `--recipe as-is`, or convert the float model it was made from",
            )

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs as real numbers."""
        assert self._engine is not None
        given = [store(array, spec) for array, spec in zip(inputs, self.inputs, strict=True)]
        found = self._engine.answer(given)
        return [dequantize(array, spec) for array, spec in zip(found, self.outputs, strict=True)]

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """Take the file as it is, or quantize it."""
        if target.recipe.converts and target.recipe.scheme(target.format).weights != "float32":
            from converters.tflite_quantize import quantize_file

            return quantize_file(self.path, target, calibration, folder, stage, source=self.path)
        if target.recipe.converts:
            self._refuse_quantized(target)
        path = folder / f"{target.key}.tflite"
        with stage("take it as it is", target.key):
            shutil.copyfile(self.path, path)
        return Artifact(
            path=path,
            inputs=self.inputs,
            outputs=self.outputs,
            uses=tflite_uses(self.described, self.path),
            settings={"converter": "none"},
        )
