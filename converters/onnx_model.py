"""ONNX models: as they are, as float for boards, or quantized."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters import onnx_file, onnx_opset
from converters.calibration.data import Data
from converters.engines import Engine, onnx_engine
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.onnx_file import OnnxFile
from converters.onnx_quantize import quantize
from converters.requirements import onnx_uses
from converters.run_set import store


class OnnxModel:
    """See `converters.models.Model`."""

    def __init__(self, path: Path, stage: Staged, *, programs: Mapping[str, str] | None = None) -> None:
        self.path, self._programs = path, programs or {}
        with stage("load the model"):
            import onnx
            import onnxruntime

            self._file = onnx_file.read(path)
            self._engine = self._load()
        proto = self._file.proto
        self.inputs, self.outputs = onnx_file.inputs(proto), onnx_file.outputs(proto)
        self.probabilities = onnx_file.ends_in_softmax(proto)
        self.versions: Mapping[str, str] = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
        self.can_answer = True
        self.answered_by = self._engine.title
        for spec in self.inputs:
            if not spec.shape or spec.shape[0] not in (1, -1):
                has = f"length {spec.shape[0]}" if spec.shape else "no axis at all"
                raise ModelUnsupported(
                    path=path,
                    target="an artifact for boards",
                    reason=f"axis 0 of its input `{spec.name}` is the batch, of 1 or open, and has {has}",
                    way_out="export it with an open batch axis",
                )

    def _load(self) -> Engine:
        """What answers for the model: itself, or, where it is too new for ONNX Runtime, its form for boards."""
        try:
            return onnx_engine(self.path)
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            with contextlib.suppress(Exception):
                return onnx_engine(onnx_file.for_boards(self._file).proto.SerializeToString())
            reason = " ".join(str(error).split())[:300]
            raise ModelUnreadable(path=self.path, format="ONNX", reason=reason) from error

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by ONNX Runtime."""
        return self._engine.answer(
            [store(array, spec) for array, spec in zip(inputs, self.inputs, strict=True)]
        )

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        if not target.recipe.converts:
            return self._as_is(target, folder, stage)
        if target.format is ModelFormat.TFLITE:
            from converters.onnx_to_tflite import to_tflite

            python = Path(self._programs["onnx2tf"])
            return to_tflite(self.path, self._file.proto, target, calibration, folder, stage, python=python)
        with stage(f"bring to opset {onnx_file.OPSET}", target.key):
            file = onnx_file.for_boards(self._file)
        return finish(
            file, target, calibration, folder, stage, source=self.path, settings={"converter": "onnx"}
        )

    def _as_is(self, target: Target, folder: Path, stage: Staged) -> Artifact:
        path = folder / f"{target.key}.onnx"
        notes: tuple[str, ...] = ()
        with stage("take it as it is", target.key):
            if self._file.external:
                save(self._file.proto, path, source=self.path)
                notes = ("its external data were put into the file",)
            else:
                shutil.copyfile(self.path, path)
        proto = self._file.proto
        return Artifact(
            path=path,
            inputs=self.inputs,
            outputs=self.outputs,
            uses=onnx_uses(proto),
            settings={"converter": "none"},
            notes=notes,
        )


def finish(
    file: OnnxFile,
    target: Target,
    calibration: Data | None,
    folder: Path,
    stage: Staged,
    *,
    source: Path,
    settings: Mapping[str, Any],
) -> Artifact:
    """Quantize a float model for boards where the recipe says so, write it, check it, describe it.

    Raises:
        ModelUnsupported: it can't be quantized, or what was made is not valid.
    """
    from converters.settings import calibration_settings, few_samples

    proto, notes, made = file.proto, file.notes, dict(settings)
    if 0 < target.newest_opset < onnx_opset.opset(proto):
        proto, prevented = onnx_opset.to_opset(proto, target.newest_opset)
        if prevented is not None:
            notes = (*notes, f"it could not be brought to opset {target.newest_opset}: {prevented}")
    scheme = target.recipe.scheme(target.format)
    if scheme.weights != "float32":
        with stage("quantize", target.key):
            quantized = quantize(proto, target, calibration, folder, source=source)
        proto, made, notes = quantized.proto, {**made, **quantized.settings}, (*notes, *quantized.notes)
    if scheme.calibrated and calibration is not None:
        made |= {"calibration": calibration_settings(calibration, scheme.calibration)}
        notes = (*notes, *few_samples(calibration))
    path = folder / f"{target.key}.onnx"
    with stage("write and check", target.key):
        onnx_opset.to_ir(proto, min(onnx_file.IR_VERSION, target.newest_ir or onnx_file.IR_VERSION))
        save(proto, path, source=source)
        proto = _checked(path, target, source)
    made |= {"opset": onnx_opset.opset(proto), "ir_version": proto.ir_version}
    return Artifact(
        path=path,
        inputs=onnx_file.inputs(proto),
        outputs=onnx_file.outputs(proto),
        uses=onnx_uses(proto),
        settings=made,
        notes=notes,
    )


def _checked(path: Path, target: Target, source: Path) -> Any:
    """Read what was written, by the checker and by ONNX Runtime: converters report success on files that are none."""
    try:
        proto = onnx_file.read(path).proto
        onnx_engine(path)
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        reason = error.facts["reason"] if isinstance(error, ModelUnreadable) else " ".join(str(error).split())
        raise ModelUnsupported(
            path=source,
            target=target.title,
            reason=f"what was made is not valid: {reason[:300]}",
            way_out="try another recipe, or a profile whose boards run another format",
        ) from error
    return proto


def save(proto: Any, path: Path, *, source: Path) -> None:
    """Write a model as one file.

    Raises:
        ModelUnsupported: it is too large for one file.
    """
    if proto.ByteSize() > onnx_file.MOST_FILE_BYTES:
        raise ModelUnsupported(
            path=source,
            target="one onnx file",
            reason="it is larger than 2 GiB",
            way_out="use a smaller model",
        )
    path.write_bytes(proto.SerializeToString(deterministic=True))
