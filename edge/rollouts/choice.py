"""What a board is to run: which bundle of a release, in which runtime, beside which other models.

The rule: the board's profile chooses the bundle, the bundle's needs and the board's facts choose the runtime, and
whether they fit is asked of the contract's functions before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.contract.errors import (
    BoardRefused,
    ModelsApart,
    NoPrimary,
    PlatformUnsupported,
    ReleaseLacksProfile,
    WrongBoard,
)
from agent.contract.manifest import BundleManifest, EngineName
from agent.contract.names import parse_release
from agent.contract.profile import BoardFacts, DeviceProfile, accepts, bundle_fits, runtime_fits
from agent.contract.release import Generation, GenerationModel, ModelRole, Release
from agent.contract.runtime import RuntimeManifest
from edge.runtimes.request import EngineWheel, RuntimeRequest

ANY_WAY_OUT = "choose another profile with `edge device probe {device} --profile NAME`"


def check_board(profile: DeviceProfile, facts: BoardFacts, *, device: str) -> None:
    """Refuse a board that `profile` is not for.

    Raises:
        BoardRefused: with the first reason that decides and its way out.
    """
    reasons = accepts(profile, facts)
    if reasons:
        raise BoardRefused(
            device=device,
            profile=profile.name,
            reason="; ".join(reason.fact for reason in reasons),
            way_out=next((r.way_out for r in reasons if r.way_out), ANY_WAY_OUT.format(device=device)),
        )


def bundle_for(release: Release, profile: DeviceProfile) -> str:
    """Digest of the release's bundle for a profile.

    Raises:
        ReleaseLacksProfile: it has none.
    """
    try:
        return release.bundles[profile.name]
    except KeyError:
        raise ReleaseLacksProfile(
            release=release.title, profile=profile.name, known=", ".join(sorted(release.bundles)) or "none"
        ) from None


def engine_for(
    bundle: BundleManifest, profile: DeviceProfile, *, beside: Sequence[BundleManifest] = ()
) -> EngineName:
    """The engine that the runtime must hold: one that every bundle can use, the profile's own before others.

    Where no engine suits what is served `beside` it, one for the bundle; `check_beside` says what that means.
    """
    own = list(bundle.requires.engines)
    shared = [name for name in own if all(name in other.requires.engines for other in beside)]
    usable = shared or own
    return profile.engine if profile.engine.value in usable else EngineName(usable[0])


def runtime_request(
    facts: BoardFacts, profile: DeviceProfile, engine: EngineName, engine_wheel: EngineWheel | None
) -> RuntimeRequest:
    """What runtime a board with `facts` needs for `engine`, in the version that its profile states for its own."""
    return RuntimeRequest(
        architecture=facts.architecture,
        python=facts.python,
        glibc=facts.glibc,
        page_size_bytes=facts.page_size_bytes,
        engine=engine,
        engine_wheel=engine_wheel,
        engine_version=profile.version_of(engine),
    )


def check_fit(
    bundle: BundleManifest,
    runtime: RuntimeManifest,
    facts: BoardFacts,
    profile: DeviceProfile,
    *,
    device: str,
) -> None:
    """Refuse what the board would refuse.

    Raises:
        PlatformUnsupported: the runtime does not run on the board.
        WrongBoard: the bundle is not for it.
    """
    for reason in runtime_fits(runtime, facts):
        raise PlatformUnsupported(
            platform=str(runtime.platform),
            reason=reason.fact,
            way_out=reason.way_out or "see docs/runtimes.md",
        )
    for reason in bundle_fits(bundle, runtime, profile=profile.name):
        raise WrongBoard(
            artifact=f"the bundle of `{bundle.model}`",
            made_for=bundle.profile,
            board=profile.name,
            reason=f"{reason.fact} (`{device}`)",
        )


def check_beside(
    release: str,
    beside: Mapping[str, BundleManifest],
    runtime: RuntimeManifest,
    profile: DeviceProfile,
    *,
    device: str,
) -> None:
    """Refuse a runtime in which what stays on the board can't be served any more.

    Args:
        release: what is to be flashed.
        beside: release to bundle of the models that stay.
        runtime: for all of them.
        profile: the board's.
        device: the board's name.

    Raises:
        ModelsApart: with the first reason.
    """
    for title, bundle in beside.items():
        for reason in bundle_fits(bundle, runtime, profile=profile.name):
            raise ModelsApart(release=release, beside=title, device=device, reason=reason.fact)


def next_generation(
    number: int, *, runtime: str, model: GenerationModel, current: Generation | None
) -> Generation:
    """`current` with `model` in its place, in `runtime`; with no `current`, `model` alone.

    The order stays, so that what is flashed again is the same content.
    """
    models: dict[tuple[str, ModelRole], GenerationModel] = {}
    for other in current.models if current else ():
        if other.name == model.name and other.role is model.role:
            models[other.name, other.role] = model
        elif stays(other, beside=model.release, role=model.role):
            models[other.name, other.role] = other
    models.setdefault((model.name, model.role), model)
    return Generation(number=number, runtime=runtime, models=tuple(models.values()))


def stays(model: GenerationModel, *, beside: str, role: ModelRole) -> bool:
    """Whether a model goes on beside a release that comes in `role`.

    A primary comes in the place of all versions of its name: what challenged the one before has ended. A challenger or
    a shadow comes in the place of the one in its role, and of itself in another.
    """
    if model.name != parse_release(beside)[0]:
        return True
    return role is not ModelRole.PRIMARY and model.role is not role and model.release != beside


def check_role(release: str, role: ModelRole, current: Generation | None, *, device: str) -> None:
    """Refuse a challenger or a shadow where nothing is to be challenged.

    Raises:
        NoPrimary: so.
    """
    name = parse_release(release)[0]
    primaries = [
        model
        for model in (current.models if current else ())
        if model.name == name and model.role is ModelRole.PRIMARY and model.release != release
    ]
    if role is not ModelRole.PRIMARY and not primaries:
        raise NoPrimary(release=release, role=role.value, device=device, model=name)
