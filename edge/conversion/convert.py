"""A conversion from beginning to end: check, convert, prove, judge, write.

The rule: what a person got wrong is said before TensorFlow is started; one child process serves all profiles; a
bundle stands in its place only when it was admitted or asked for with `keep_failed`, and then says so itself.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import ConversionCrashed, EdgeError, ModelUnsupported
from agent.contract.manifest import EngineName
from agent.contract.profile import DeviceProfile
from converters import recipe as recipes
from converters.convert import Conversion
from converters.convert import convert as run_job
from converters.job import ConversionJob, Stage, Target
from converters.recipe import Recipe
from edge.config import cache_dir
from edge.conversion.finish import Finishing
from edge.conversion.given import Given, check
from edge.conversion.request import ConversionOutcome, ConversionRequest, Measure, ProfileResult
from edge.progress import Progress, Silent

MeasureFor = Callable[[DeviceProfile, EngineName], Measure | None]
LEAST_TOLD_S = 0.2
"""Stages that took less are in the report alone."""


@dataclass(kw_only=True)
class _Plan:
    """What is to be done for one profile."""

    profile: DeviceProfile
    recipe: Recipe
    target: Target | None = None
    error: EdgeError | None = None


def convert(
    request: ConversionRequest,
    *,
    measure_for: MeasureFor,
    boards: Mapping[str, Measure] | None = None,
    progress: Progress | None = None,
) -> ConversionOutcome:
    """Convert a model for one or more profiles.

    Args:
        request: what is asked for.
        measure_for: from a profile and its engine to the measure function of a proof environment, or None where
            there is none on this machine.
        boards: by a profile's name, the measure function of a board: each artifact for it runs there, too. Where there
            is no proof environment here, that run is the proof.
        progress: who is told.

    Returns:
        One result a profile; what went wrong for one of them stands in its result.

    Raises:
        ModelUnreadable, ModelFormatUnknown, ModelHoldsCode: the model.
        RecipeUnknown, CalibrationMissing, NameInvalid, OptionInvalid: the request.
        DataUnreadable, DataMismatch: calibration data, held-out data or labels.
        ExtraMissing: a package that is needed is not installed.
        ConversionCrashed: the child process died before it came to any profile.
    """
    progress = progress or Silent()
    given = check(request)
    given.boards = boards or {}
    plans = [_plan(request, given, profile) for profile in request.profiles]
    refused = [plan.error for plan in plans if plan.error is not None]
    if len(refused) == len(plans):
        raise refused[0]
    for plan in plans:
        if plan.target is not None:
            _find_measure(plan, given, measure_for)
    log, crashed = _log_file(), False
    try:
        with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
            conversion = _run(request, given, plans, Path(folder), log, progress)
            finishing = Finishing(request, given, conversion, Path(folder), progress)
            finishing.check_labels()
            results = tuple(_finish(finishing, plan) for plan in plans)
        crashed = any(isinstance(result.error, ConversionCrashed) for result in results)
    except ConversionCrashed:
        crashed = True
        raise
    finally:
        if not crashed:
            log.unlink(missing_ok=True)
    return ConversionOutcome(model=given.name, results=results, notes=finishing.notes)


def _finish(finishing: Finishing, plan: _Plan) -> ProfileResult:
    if plan.target is None:
        kind = plan.profile.format.value
        return ProfileResult(
            profile=plan.profile.name, recipe=plan.recipe.name, format=kind, error=plan.error
        )
    return finishing.profile(plan.profile, plan.recipe, plan.target)


def _plan(request: ConversionRequest, given: Given, profile: DeviceProfile) -> _Plan:
    recipe = recipes.find(request.recipe, profile_recipe=profile.recipe, source=given.source)
    plan = _Plan(profile=profile, recipe=recipe)
    try:
        recipes.check(
            recipe,
            path=request.model,
            source=given.source,
            target=profile.format,
            calibrated=request.calibration is not None,
        )
    except ModelUnsupported as error:
        plan.error = error
        return plan
    typed = recipe.converts and recipe.scheme(profile.format).activations == "board"
    key = "-".join([profile.format.value, recipe.name, *([profile.architecture] if typed else [])])
    plan.target = Target(key=key, format=profile.format, recipe=recipe, architecture=profile.architecture)
    return plan


def _find_measure(plan: _Plan, given: Given, measure_for: MeasureFor) -> None:
    """Ask for each profile, since boards of two kinds may run two versions of one engine; where there is no proof
    environment, the worker answers."""
    given.measures[plan.profile.name] = measure_for(plan.profile, plan.profile.engine)


def _run(
    request: ConversionRequest, given: Given, plans: list[_Plan], folder: Path, log: Path, progress: Progress
) -> Conversion:
    targets: dict[str, Target] = {}
    for plan in plans:
        if plan.target is None:
            continue
        alone = (
            given.measures[plan.profile.name] is None or targets.get(plan.target.key, plan.target).answer_here
        )
        targets[plan.target.key] = Target(
            key=plan.target.key,
            format=plan.target.format,
            recipe=plan.target.recipe,
            architecture=plan.target.architecture,
            answer_here=alone,
        )
    job = ConversionJob(
        source=str(request.model.resolve()),
        source_format=given.source,
        targets=tuple(targets.values()),
        folder=str(folder),
        calibration=str(request.calibration.resolve()) if request.calibration else None,
        evaluation=str(request.evaluation.resolve()) if request.evaluation else None,
        signature=request.signature,
        trust=request.trust,
    )

    def tell(stage: Stage) -> None:
        if stage.seconds >= LEAST_TOLD_S:
            what = f"{stage.name}, {stage.target}" if stage.target else stage.name
            progress.step(f"{what}: {stage.seconds:.1f} s")

    return run_job(job, log=log, on_stage=tell, environments=cache_dir() / "frameworks")


def _log_file() -> Path:
    """Where the child's output goes; it is kept when it explains a crash."""
    folder = cache_dir() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"convert-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"
