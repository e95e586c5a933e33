"""A float `.tflite` that another framework's converter made, taken or quantized as the artifact of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters import tflite_file
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged
from converters.requirements import tflite_uses


def artifact(
    made: Path,
    target: Target,
    calibration: Data | None,
    folder: Path,
    stage: Staged,
    *,
    settings: Mapping[str, Any],
    notes: tuple[str, ...],
    source: Path,
) -> Artifact:
    """Take the float file `made` for the target, or quantize it where the recipe says so.

    Raises:
        ModelUnsupported, ExtraMissing: it can't be quantized, see `quantize_file`.
    """
    if target.recipe.scheme(target.format).weights != "float32":
        from converters.tflite_quantize import quantize_file

        found = quantize_file(made, target, calibration, folder, stage, source=source)
        return replace(found, settings={**found.settings, **settings}, notes=(*found.notes, *notes))
    path = folder / f"{target.key}.tflite"
    made.replace(path)
    described = tflite_file.read(path)
    return Artifact(
        path=path,
        inputs=described.inputs,
        outputs=described.outputs,
        uses=tflite_uses(described, path),
        settings=settings,
        notes=notes,
    )
