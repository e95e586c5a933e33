"""A judged artifact as a bundle's content and as a result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.codec import to_plain
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import GoldenSet
from converters.job import Converted, RunOrigin
from converters.recipe import Recipe
from converters.statistics import UNDECIDED
from edge.conversion.judgement import Judgement
from edge.conversion.on_board import doubts
from edge.conversion.package import ORIGINS, Package
from edge.conversion.report import report
from edge.conversion.request import ProfileResult, Row
from edge.conversion.shared import Shared
from edge.conversion.tried import Answers

Array = NDArray[Any]


def package_of(
    shared: Shared,
    profile: DeviceProfile,
    recipe: Recipe,
    converted: Converted,
    inputs: tuple[Array, ...],
    answers: Answers | None,
    judgement: Judgement | None,
    rows: Sequence[Row] = (),
) -> Package:
    """The bundle's content; a draft for the proof run where there are no answers yet."""
    artifact = shared.folder / converted.file
    settings: dict[str, Any] = {
        "name": recipe.name,
        "asked": shared.request.recipe,
        **({"scheme": to_plain(recipe.scheme(profile.format))} if recipe.converts else {}),
        **converted.settings,
    }
    if shared.pixels.plain():
        settings["input_scale"] = shared.pixels.plain()
    package = Package(
        model=shared.given.name,
        profile=profile,
        artifact=artifact,
        converted=converted,
        task=shared.task,
        golden=GoldenSet(inputs=tuple(array[:1] for array in inputs)),
        golden_facts={"origin": ORIGINS[shared.original.origin]},
        recipe=settings,
        source_sha256=shared.given.sha256,
        verdict="not-judged",
        preprocessing=shared.pixels.steps,
        postprocessing=shared.request.pipeline.postprocessing,
        probabilities=shared.original.probabilities,
        labels=shared.given.labels,
    )
    if answers is None or judgement is None:
        return package
    return package.with_proof(
        golden=_golden(shared, converted, inputs, answers, judgement),
        golden_facts={
            "origin": ORIGINS[shared.original.origin],
            "floor": judgement.floor,
            "agreement": judgement.agreement,
            "proved_in": answers.proof.title if answers.proof else None,
        },
        verdict="unknown" if judgement.verdict == UNDECIDED else judgement.verdict,
        memory_bytes=int(answers.proof.result.memory_mb * 1e6) if answers.proof else 0,
        report=report(
            shared.request, shared.given, shared.original, shared.conversion, profile, settings, converted, judgement,
            artifact_sha256=hashlib.sha256(artifact.read_bytes()).hexdigest(),
            artifact_bytes=artifact.stat().st_size,
            answered_by=answers.by,
            proof=answers.here,
            board=answers.board,
            notes=_notes(profile, converted, answers),
            rows=rows,
        ),
    )  # fmt: skip


def _golden(
    shared: Shared, converted: Converted, inputs: tuple[Array, ...], answers: Answers, judgement: Judgement
) -> GoldenSet:
    chosen = judgement.golden
    floats = () if shared.original.origin is RunOrigin.SANITY else shared.floats(converted, answers)
    return GoldenSet(
        inputs=tuple(array[chosen] for array in inputs),
        proof=tuple(array[chosen] for array in answers.outputs) if answers.proof else (),
        float_outputs=tuple(array[chosen].astype(np.float32) for array in floats),
    )


def _notes(profile: DeviceProfile, converted: Converted, answers: Answers) -> tuple[str, ...]:
    notes = [*converted.notes, *(doubts(answers.board) if answers.board else ())]
    if answers.proof is None:
        notes.append(
            f"{profile.engine.value} has no proof environment on this machine: the board's trial will be its first"
            f" run; what is said of its answers was measured with {answers.by}"
        )
    return tuple(notes)


def result_of(
    shared: Shared,
    profile: DeviceProfile,
    recipe: Recipe,
    package: Package,
    judgement: Judgement,
    answers: Answers,
    folder: Path | None,
    digest: str | None,
) -> ProfileResult:
    """What came of a profile whose artifact ran."""
    timed = answers.here.result if answers.here else None
    return ProfileResult(
        profile=profile.name,
        recipe=recipe.name,
        format=package.artifact.suffix[1:],
        bundle=folder,
        digest=digest,
        verdict=judgement.verdict,
        size_bytes=package.artifact.stat().st_size,
        float_size_bytes=shared.given.size_bytes,
        drop=judgement.drop,
        agreement=judgement.agreement,
        floor=judgement.floor,
        golden=f"{package.golden.samples} {shared.original.origin.value}",
        p50_ms=timed.p50_ms if timed else None,
        p95_ms=timed.p95_ms if timed else None,
        memory_mb=timed.memory_mb if timed else None,
        proved_in=answers.proof.title if answers.proof else None,
        board=answers.board,
        notes=_notes(profile, package.converted, answers),
        error=judgement.error,
        report=to_plain(package.report),
    )
