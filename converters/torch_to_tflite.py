"""PyTorch to TFLite by litert-torch: batch 1, the layout as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnsupported
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged
from converters.tflite_artifact import artifact


def to_tflite(
    module: Any,
    example: tuple[Any, ...],
    target: Target,
    calibration: Data | None,
    folder: Path,
    stage: Staged,
    *,
    source: Path,
    notes: tuple[str, ...],
) -> Artifact:
    """Make a `.tflite` in `folder`.

    Args:
        module: of an exported program.
        example: its inputs, batch 1.
        target: what to make.
        calibration: representative inputs, where the recipe needs them.
        folder: where to.
        stage: measures.
        source: the model, for sentences.
        notes: of the model, for the artifact.

    Raises:
        ModelUnsupported: litert-torch refuses the model.
    """
    made = folder / f"{target.key}.litert.tflite"
    with stage("start litert-torch", target.key):
        import litert_torch
    with stage("convert to TFLite", target.key):
        try:
            litert_torch.convert(module, example).export(str(made))
        except Exception as error:  # it raises what its lowerings raise, a page long
            raise ModelUnsupported(
                path=source,
                target=target.title,
                reason=f"litert-torch says: {' '.join(str(error).split())[-300:]}",
                way_out="take a profile whose boards run ONNX",
            ) from error
    return artifact(
        made,
        target,
        calibration,
        folder,
        stage,
        settings={"converter": f"litert-torch {litert_torch.__version__}"},
        notes=("the batch is fixed to 1", *notes),
        source=source,
    )
