"""From an artifact and its judgement to a bundle on disk, with the report of how it came to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.contract.codec import to_plain
from agent.contract.manifest import (
    BundleManifest,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Step,
    Task,
)
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import GoldenSet, write_golden
from converters.job import Converted, RunOrigin
from edge.bundle import write_bundle

GOLDEN_FILE = "golden.npz"
REPORT_FILE = "report.json"
LABELS_FILE = "labels.txt"
REPORT_SCHEMA = "edge.report/1"
NOT_LIMITED_TO_ARCHITECTURE: tuple[str, ...] = ()
ORIGINS = {
    RunOrigin.HELD_OUT: GoldenOrigin.HELD_OUT,
    RunOrigin.CALIBRATION: GoldenOrigin.CALIBRATION,
    RunOrigin.SANITY: GoldenOrigin.SANITY,
}
TOP = 5


@dataclass(frozen=True, kw_only=True)
class Package:
    """All that goes into a bundle.

    Attributes:
        model: its name.
        profile: that it is made for.
        artifact: the file.
        converted: what it is.
        task: what its outputs mean.
        golden: the golden set in memory.
        golden_facts: what the manifest says of it, without file name and count.
        recipe: how it was converted, as data.
        source_sha256: of the model that was given.
        verdict: as the manifest says it.
        preprocessing: steps from a picture to the input.
        postprocessing: steps from the outputs to an answer; None derives them.
        probabilities: the first output comes from a softmax.
        labels: one a class, or none.
        memory_bytes: what loading and running it took; 0 when not known.
        report: what was measured.
    """

    model: str
    profile: DeviceProfile
    artifact: Path
    converted: Converted
    task: Task
    golden: GoldenSet
    golden_facts: Mapping[str, Any]
    recipe: Mapping[str, Any]
    source_sha256: str
    verdict: str
    preprocessing: tuple[Step, ...]
    postprocessing: tuple[Step, ...] | None
    probabilities: bool
    labels: tuple[str, ...] = ()
    memory_bytes: int = 0
    report: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> str:
        """Write the bundle, in place of one that is there, and return its digest."""
        kind = ModelFormat(self.artifact.suffix[1:])
        model_file = f"model.{kind.value}"
        files: dict[str, bytes | Path] = {
            model_file: self.artifact,
            GOLDEN_FILE: write_golden(self.golden),
            REPORT_FILE: json.dumps(to_plain(self.report or {}), indent=2, ensure_ascii=False).encode(),
        }
        if self.labels:
            files[LABELS_FILE] = "".join(f"{label}\n" for label in self.labels).encode()
        manifest = partial(
            BundleManifest,
            model=self.model,
            profile=self.profile.name,
            format=kind,
            model_file=model_file,
            task=self.task,
            inputs=self.converted.inputs,
            outputs=self.converted.outputs,
            golden=Golden(file=GOLDEN_FILE, samples=self.golden.samples, **self.golden_facts),
            requires=Requirements(
                engines=self.converted.engines,
                architectures=self._architectures(kind),
                memory_bytes=self.memory_bytes,
            ),
            recipe=self.recipe,
            report_file=REPORT_FILE,
            source_sha256=self.source_sha256,
            verdict=self.verdict,
            preprocessing=self.preprocessing,
            postprocessing=self._postprocessing(),
            labels_file=LABELS_FILE if self.labels else None,
        )
        return write_bundle(
            folder, files=files, manifest=lambda entries: manifest(files=entries), replace=True
        )

    def with_proof(self, **changes: Any) -> Package:
        """The same with what the proof run added."""
        return replace(self, **changes)

    def _architectures(self, kind: ModelFormat) -> tuple[str, ...]:
        """An int8 ONNX file has the integer types of one architecture; everything else runs on any."""
        if kind is ModelFormat.ONNX and "activations" in self.converted.settings:
            return (self.profile.architecture,)
        return NOT_LIMITED_TO_ARCHITECTURE

    def _postprocessing(self) -> tuple[Step, ...]:
        if self.postprocessing is not None:
            return self.postprocessing
        if self.task is not Task.CLASSIFICATION:
            return ()
        count = min(TOP, self.converted.outputs[0].shape[-1])
        softmax = () if self.probabilities else (Step("softmax"),)
        return (*softmax, Step("top-k", {"k": count}))
