"""A conversion from beginning to end: check, convert, prove, judge, write.

The rule: what a person got wrong is said before TensorFlow is started; one child process serves all profiles; a
bundle stands in its place only when it was admitted or asked for with `keep_failed`, and then says so itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.contract.errors import ConversionCrashed, FleetFolderBusy, OptionInvalid
from agent.contract.profile import DeviceProfile
from converters.contract import Contract
from converters.convert import Conversion
from converters.convert import convert as run_job
from converters.job import ConversionJob, Stage, Target
from edge.config import conversions_dir, frameworks_dir, log_file
from edge.conversion import kept
from edge.conversion.candidates import Plan, plan
from edge.conversion.choice import LATENCY
from edge.conversion.finish import Finishing
from edge.conversion.given import Given, check
from edge.conversion.request import ConversionOutcome, ConversionRequest, Measure
from edge.conversion.shared import Shared
from edge.progress import Progress, Silent

MeasureFor = Callable[[DeviceProfile], Measure | None]
LEAST_TOLD_S = 0.2
"""Stages that took less are in the report alone."""


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
        measure_for: from a profile to the measure function of its engine's proof environment, or None where there
            is none on this machine.
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
    plans = [plan(request, given, profile) for profile in request.profiles]
    _refuse_impossible(plans)
    for one in plans:
        if one.targets:
            _find_measure(one.profile, given, measure_for)
    if request.prefer == LATENCY:
        _refuse_untimed(plans, given)
    log, crashed = log_file("convert"), False
    try:
        with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
            conversion = _run(request, given, plans, Path(folder), log, progress)
            given.labels = given.labels or _named_by_data(conversion)
            shared = Shared(request, given, conversion, Path(folder))
            shared.check_labels()
            finishing = Finishing(shared, progress)
            results = tuple(finishing.profile(one) for one in plans)
        crashed = any(isinstance(result.error, ConversionCrashed) for result in results)
    except ConversionCrashed:
        crashed = True
        raise
    finally:
        if not crashed:
            log.unlink(missing_ok=True)
    return ConversionOutcome(model=given.name, results=results, notes=shared.notes)


def _refuse_impossible(plans: Sequence[Plan]) -> None:
    """Raise the first reason where nothing can be made for any profile."""
    if not any(one.targets for one in plans):
        raise next(candidate.error for one in plans for candidate in one.candidates if candidate.error)


def _find_measure(profile: DeviceProfile, given: Given, measure_for: MeasureFor) -> None:
    """Ask for each profile, since boards of two kinds may run two versions of one engine; where there is no proof
    environment, the worker answers."""
    given.measures[profile.name] = measure_for(profile)


def _refuse_untimed(plans: Sequence[Plan], given: Given) -> None:
    """Raise OptionInvalid where the fastest is wished for and nothing can time an artifact."""
    for one in plans:
        profile = one.profile
        if one.targets and given.measures[profile.name] is None and profile.name not in given.boards:
            reason = (
                f"nothing here runs an artifact for `{profile.name}`, so that none can be timed: {profile.engine.value}"
                " has no proof environment on this machine; name such a board with --measure-on"
            )
            raise OptionInvalid(option=f"--prefer {LATENCY}", reason=reason)


def _run(
    request: ConversionRequest, given: Given, plans: list[Plan], folder: Path, log: Path, progress: Progress
) -> Conversion:
    targets: dict[str, Target] = {}
    for one in plans:
        for target in one.targets:
            proved = given.measures[one.profile.name] is not None or one.profile.name in given.boards
            alone = not proved or targets.get(target.key, target).answer_here
            targets[target.key] = replace(target, answer_here=alone)
    job = ConversionJob(
        source=str(request.model.resolve()),
        source_format=given.source,
        targets=tuple(targets.values()),
        folder=str(folder),
        calibration=given.calibration,
        evaluation=given.evaluation,
        contract=_contract(request, given),
        signature=request.signature,
        trust=request.trust,
    )

    def tell(stage: Stage) -> None:
        if stage.seconds >= LEAST_TOLD_S:
            what = f"{stage.name}, {stage.target}" if stage.target else stage.name
            progress.step(f"{what}: {stage.seconds:.1f} s")

    key = _key(job) if request.use_cache else None
    if key is not None and (found := kept.take(conversions_dir(), key, folder)) is not None:
        progress.step(kept.told(found[1]))
        return found[0]
    conversion = run_job(job, log=log, on_stage=tell, environments=frameworks_dir())
    # What was given may have changed meanwhile: then nobody knows what the child read.
    if key is not None and _key(job) == key:
        try:
            kept.keep(conversions_dir(), key, folder, conversion)
        except (OSError, FleetFolderBusy) as error:
            progress.step(f"what was converted could not be kept for the next time: {error}")
    return conversion


def _key(job: ConversionJob) -> str | None:
    """See `kept.key_of`; None where what was given can't be read now, which the child will say."""
    try:
        return kept.key_of(job)
    except (OSError, ValueError):
        return None


def _contract(request: ConversionRequest, given: Given) -> Contract:
    return Contract(
        max_drop_points=request.max_drop_points,
        task=request.pipeline.task,
        metric=request.metric,
        postprocessing=request.pipeline.postprocessing or (),
        named=bool(given.labels),
    )


def _named_by_data(conversion: Conversion) -> tuple[str, ...]:
    """The classes' names where held-out data, like folders of pictures, name each of them."""
    data = conversion.original.evaluation if conversion.original else None
    return data.classes if data is not None else ()
