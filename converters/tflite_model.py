"""TFLite files that are taken as they are."""

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
from converters.requirements import tflite_engines
from converters.run_set import store


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
        tflite_engines(self.described, self.path)
        wrong = [spec for spec in self.inputs if not spec.shape or spec.shape[0] not in (1, -1)]
        if wrong or not self.inputs:
            raise ModelUnsupported(
                path=self.path,
                target="an artifact for boards",
                reason="its inputs don't begin with a batch of 1",
                way_out="convert it with a batch of 1",
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
        """Take the file as it is."""
        path = folder / f"{target.key}.tflite"
        with stage("take it as it is", target.key):
            shutil.copyfile(self.path, path)
        return Artifact(
            path=path,
            inputs=self.inputs,
            outputs=self.outputs,
            engines=tflite_engines(self.described, self.path),
            settings={"converter": "none"},
        )
