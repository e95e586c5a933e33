"""What an update needs before a board is asked for anything: the bundle for its profile, and a runtime that fits.

The rule: whether all that is to run on a board fits it and fits together is known before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from agent.contract.errors import FileMissing, ModelsApart, PlatformUnsupported, WrongBoard
from agent.contract.manifest import BundleManifest
from agent.contract.profile import BoardFacts, DeviceProfile
from agent.contract.release import Generation, GenerationModel, ModelRole, Release
from edge.config import cache_dir
from edge.progress import Progress, Silent
from edge.rollouts.choice import (
    bundle_for,
    check_beside,
    check_fit,
    engine_for,
    next_generation,
    runtime_request,
    stays,
)
from edge.rollouts.workspace import Workspace
from edge.runtimes.compose import Composed, compose
from edge.runtimes.request import EngineWheel


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A runtime that lies in the repository, and the model as a generation names it."""

    composed: Composed
    model: GenerationModel


def models_beside(
    workspace: Workspace,
    release: Release,
    current: Generation | None,
    *,
    device: str,
    role: ModelRole = ModelRole.PRIMARY,
) -> dict[str, BundleManifest]:
    """Release to bundle of the models that stay on a board beside `release`.

    Raises:
        ModelsApart: this folder's repository does not hold one of them.
    """
    stay = [
        model
        for model in (current.models if current else ())
        if stays(model, beside=release.title, role=role)
    ]
    try:
        return {model.release: workspace.repository.bundle(model.bundle) for model in stay}
    except FileMissing as error:
        raise ModelsApart(
            release=release.title,
            beside=", ".join(model.release for model in stay),
            device=device,
            reason="this fleet folder's repository does not hold it",
        ) from error


def held_part(workspace: Workspace, current: Generation) -> Generation:
    """`current` without the models that this folder's repository does not hold."""
    held = {bundle for release in workspace.repository.releases() for bundle in release.bundles.values()}
    return replace(current, models=tuple(model for model in current.models if model.bundle in held))


def prepare(
    workspace: Workspace,
    release: Release,
    profile: DeviceProfile,
    facts: BoardFacts,
    beside: Mapping[str, BundleManifest],
    *,
    device: str,
    engine_wheel: EngineWheel | None = None,
    progress: Progress,
) -> Prepared:
    """The bundle for a board's profile, and a runtime that fits both and what stays on the board.

    Raises:
        ReleaseLacksProfile: the release has no bundle for it.
        PlatformUnsupported, WrongBoard, ModelsApart: they do not fit.
        PassphraseMissing, PassphraseWrong: the runtime is new to the repository, which takes the `targets` key.
        RuntimeCompositionError: it can't be composed.
    """
    repository = workspace.repository
    digest = bundle_for(release, profile)
    bundle = repository.bundle(digest)
    engine = engine_for(bundle, profile, beside=tuple(beside.values()))
    composed = compose(runtime_request(facts, profile, engine, engine_wheel), cache_dir(), progress)
    check_fit(bundle, composed.manifest, facts, profile, device=device)
    check_beside(release.title, beside, composed.manifest, profile, device=device)
    if not repository.has_runtime(composed.digest):
        repository.add_runtime(composed.manifest_bytes, composed.blobs)
    return Prepared(composed=composed, model=_model(release, digest))


def generation_with(
    workspace: Workspace,
    release: Release,
    profile: DeviceProfile,
    facts: BoardFacts,
    current: Generation | None,
    *,
    device: str,
) -> Generation:
    """`current` with `release` in the place of the model of its name, its number still 1.

    The runtime stays where the release runs in it, so that what a rollout compares differs by the model alone, and an
    engine of the user's own stays on its board.

    Raises:
        as `prepare`.
    """
    digest = bundle_for(release, profile)
    beside = models_beside(workspace, release, current, device=device)
    if current is not None and workspace.repository.has_runtime(current.runtime):
        runtime = workspace.repository.runtime(current.runtime)
        bundle = workspace.repository.bundle(digest)
        with suppress(PlatformUnsupported, WrongBoard, ModelsApart):  # then it gets a runtime that fits
            check_fit(bundle, runtime, facts, profile, device=device)
            check_beside(release.title, beside, runtime, profile, device=device)
            return next_generation(1, runtime=current.runtime, model=_model(release, digest), current=current)
    prepared = prepare(workspace, release, profile, facts, beside, device=device, progress=Silent())
    return next_generation(1, runtime=prepared.composed.digest, model=prepared.model, current=current)


def _model(release: Release, bundle: str) -> GenerationModel:
    return GenerationModel(name=release.name, release=release.title, bundle=bundle, budgets=release.budgets)
