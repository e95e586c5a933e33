"""A float `.tflite` that another framework's converter made, described as the artifact of a target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnsupported
from converters import tflite_file
from converters.job import Target
from converters.models import Artifact
from converters.requirements import tflite_engines


def artifact(
    made: Path,
    target: Target,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    notes: tuple[str, ...],
    source: Path,
) -> Artifact:
    """Take the float file `made` for the target.

    Raises:
        ModelUnsupported: the recipe is not for floats.
    """
    if target.recipe.scheme(target.format).weights != "float32":
        raise ModelUnsupported(
            path=source,
            target=target.title,
            reason="this way makes 32-bit floats",
            way_out="take recipe fp32",
        )
    path = folder / f"{target.key}.tflite"
    made.replace(path)
    described = tflite_file.read(path)
    return Artifact(
        path=path,
        inputs=described.inputs,
        outputs=described.outputs,
        engines=tflite_engines(described, path),
        settings=settings,
        notes=notes,
    )
