"""The report that lies in a bundle: what was measured at conversion, where, and with what.

The rule: every number says what it was measured on. Latency is that of this machine (`here`), or that of a board
which was asked for (`board`); the one never stands for the other.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from agent.contract.codec import to_plain
from agent.contract.profile import DeviceProfile
from converters.convert import Conversion
from converters.job import Converted, Original
from edge.conversion.given import Given
from edge.conversion.judgement import Judgement
from edge.conversion.package import REPORT_SCHEMA
from edge.conversion.proof import Proof
from edge.conversion.request import ConversionRequest, MeasureResult, Row

PACKAGES = (
    "edge-toolkit",
    "ai-edge-quantizer",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
    "onnx",
    "onnxruntime",
)


def report(
    request: ConversionRequest,
    given: Given,
    original: Original,
    conversion: Conversion,
    profile: DeviceProfile,
    recipe: Mapping[str, Any],
    converted: Converted,
    judgement: Judgement,
    *,
    artifact_sha256: str,
    artifact_bytes: int,
    answered_by: str,
    proof: Proof | None,
    board: MeasureResult | None,
    notes: tuple[str, ...],
    rows: Sequence[Row],
) -> dict[str, Any]:
    """The report of one profile's conversion, JSON-ready."""
    plain = {
        "schema": REPORT_SCHEMA,
        "model": given.name,
        "profile": profile.name,
        "recipe": recipe,
        "source": {
            "file": request.model.name,
            "format": given.source.value,
            "sha256": given.sha256,
            "size_bytes": given.size_bytes,
            "answered_by": original.answered_by,
        },
        "artifact": {
            "format": converted.file.rpartition(".")[2],
            "sha256": artifact_sha256,
            "size_bytes": artifact_bytes,
            "answered_by": answered_by,
        },
        "calibration": original.calibration,
        "evaluation": original.evaluation,
        "accuracy": _accuracy(request, judgement),
        "agreement": {
            "value": judgement.agreement,
            "floor": judgement.floor,
            "samples": len(judgement.golden),
            "origin": original.origin.value,
        },
        "verdict": judgement.verdict,
        "error": judgement.error.to_plain() if judgement.error else None,
        "candidates": candidates(rows),
        "layers": converted.layers,
        "confusion": judgement.confusion,
        "labels": given.labels,
        "here": _here(proof),
        "board": board,
        "stages": [stage for stage in conversion.stages if stage.target in (None, converted.key)],
        "versions": _versions(original),
        "notes": list(notes),
    }
    return dict(to_plain(plain))


def candidates(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What was tried, JSON-ready; layers stand once in a report, those of the artifact."""
    return [
        dict(to_plain({name: value for name, value in vars(row).items() if name != "layers"})) for row in rows
    ]


def _accuracy(request: ConversionRequest, judgement: Judgement) -> dict[str, Any] | None:
    if judgement.drop is None:
        return None
    return {**vars(judgement.drop), "budget_points": request.max_drop_points}


def _here(proof: Proof | None) -> dict[str, Any] | None:
    if proof is None:
        return None
    result = proof.result
    return {
        "where": proof.title,
        "p50_ms": result.p50_ms,
        "p95_ms": result.p95_ms,
        "memory_mb": result.memory_mb,
    }


def _versions(original: Original) -> dict[str, str]:
    found = dict(original.versions)
    for package in PACKAGES:
        try:
            found.setdefault(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(found.items()))
