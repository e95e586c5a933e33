"""`edge flash TARGET MODEL-FILE`: convert for the board's profile, publish under the file's name, in one go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import ReleaseUnknown
from edge.cli import output
from edge.cli.proofs import measure_for
from edge.rollouts.boards import probe_device
from edge.rollouts.workspace import Workspace

if TYPE_CHECKING:
    from agent.contract.manifest import BundleManifest


def publish_file(
    workspace: Workspace,
    model: Path,
    *,
    device: str,
    calibration: Path | None,
    evaluation: Path | None,
    max_drop: float,
    steps: output.Steps,
) -> str:
    """Convert and publish; returns the release's title.

    Raises:
        ReleaseUnknown: `model` is neither a release nor a file.
        ConvertError: the conversion, or its verdict.
    """
    from edge.bundle import open_bundle
    from edge.conversion import ConversionRequest, convert

    if not model.exists():
        known = ", ".join(release.title for release in workspace.repository.releases()) or "none"
        raise ReleaseUnknown(release=model, known=known)
    found = workspace.inventory.get(device)
    profile = workspace.profile(found.profile) if found.profile else probe_device(workspace, device).profile
    as_is = calibration is None and model.suffix.lower() in (".tflite", ".onnx")
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        request = ConversionRequest(
            model=model,
            profiles=(profile,),
            output=Path(folder) / "bundles",
            recipe="as-is" if as_is else "auto",
            calibration=calibration,
            evaluation=evaluation,
            max_drop_points=max_drop,
        )
        outcome = convert(request, measure_for=measure_for(steps), progress=steps)
        result = outcome.results[0]
        if result.error is not None or result.bundle is None:
            raise result.error or AssertionError("a result without error has a bundle")
        for note in (*outcome.notes, *result.notes):
            output.line("note", note)
        bundle = open_bundle(result.bundle)
        release = next(
            (
                release
                for release in workspace.repository.releases()
                if release.name == outcome.model
                and profile.name in release.bundles
                and _what_counts(workspace.repository.bundle(release.bundles[profile.name]))
                == _what_counts(bundle.manifest)
            ),
            None,
        ) or workspace.repository.publish(outcome.model, [bundle])
    steps.step(
        f"{release.title}: {model.name} for {profile.name}, recipe {result.recipe}, golden set: {result.golden}"
    )
    return release.title


def _what_counts(manifest: BundleManifest) -> tuple[object, ...]:
    """What makes a bundle another one to a board: not what the conversion's report measured on this machine."""
    files = {entry.path: entry.sha256 for entry in manifest.files if entry.path != manifest.report_file}
    return files, manifest.recipe, manifest.verdict, manifest.requires.engines
