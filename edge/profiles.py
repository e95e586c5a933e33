"""Device profiles: TOML files that say what a kind of board is and can do.

The rule: a profile is a file, its name is the file's. Those that come with edge lie in `device_profiles/`; a
file of the same name in the fleet folder's `device_profiles/` takes its place. Every number carries its source,
and a field that edge does not know is an error that says which one was meant.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.contract.codec import from_plain
from agent.contract.errors import (
    BoardRefused,
    DocumentInvalid,
    ProfileInvalid,
    ProfileUndecided,
    ProfileUnknown,
)
from agent.contract.manifest import EngineName, ModelFormat
from agent.contract.profile import PYTHONS, BoardFacts, DeviceProfile, Sourced, accepts
from edge.config import FleetFolder
from edge.suggestion import did_you_mean

BUILT_IN = Path(__file__).resolve().parent.parent / "device_profiles"
"""Beside the package `edge`, in the tree as in the wheel."""
EXTENDS = "extends"
OWN = "own"
"""Key in a profile's `extra`: true for a profile of the fleet folder."""

_FIELDS = tuple(
    field.name for field in dataclasses.fields(DeviceProfile) if field.name not in ("name", "extra")
)
_NUMBERS = ("memory_mib", "cores", "memory_limit_mib", "page_size_bytes")
_NUMBER_FIELDS = tuple(field.name for field in dataclasses.fields(Sourced) if field.name != "extra")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "architecture": ("aarch64", "x86_64"),
    "format": tuple(kind.value for kind in ModelFormat if kind is not ModelFormat.UNKNOWN),
    "engine": tuple(name.value for name in EngineName if name is not EngineName.UNKNOWN),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    """One profile file: where it lies, what it says, and whether it is the fleet folder's."""

    path: Path
    table: dict[str, Any]
    own: bool


def load_profiles(fleet_folder: FleetFolder | None = None) -> dict[str, DeviceProfile]:
    """Every profile by its name, sorted: those that come with edge, and those of the fleet folder instead or beside.

    Raises:
        ProfileInvalid: a file is no valid profile; the reason names the field.
        ProfileUnknown: a profile extends one that is not there.
    """
    folders = [BUILT_IN, *([fleet_folder.profiles] if fleet_folder else [])]
    files: dict[str, list[_File]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            files.setdefault(path.stem, []).append(
                _File(path=path, table=_read(path), own=folder != BUILT_IN)
            )
    return {name: _profile(files[name][-1], _whole(name, files)) for name in sorted(files)}


def profile_named(name: str, profiles: Mapping[str, DeviceProfile]) -> DeviceProfile:
    """The profile of that name.

    Raises:
        ProfileUnknown: there is none; the error says which one was probably meant.
    """
    if name not in profiles:
        raise ProfileUnknown(profile=name, suggestion=did_you_mean(name, profiles))
    return profiles[name]


def choose(
    facts: BoardFacts, profiles: Mapping[str, DeviceProfile], *, device: str = "the board"
) -> tuple[DeviceProfile, str]:
    """The profile for a board that was probed, and one sentence that says why.

    What the board calls itself decides, the longest match first; a board that no profile is made for gets the one
    of its architecture that is made for no board in particular. A simulated board gets a simulated profile only.
    Of two that fit alike, the fleet folder's wins, then the one that the other extends.

    Args:
        facts: what the board says of itself.
        profiles: from `load_profiles`.
        device: how an error calls the board.

    Raises:
        BoardRefused: the board is of a kind that is known, but can't be run (32-bit system, no Python, …).
        ProfileUndecided: no profile is for it, or several are with nothing between them.
    """
    candidates = [profile for profile in profiles.values() if profile.simulated == facts.simulated]
    matches = {profile.name: _matched(profile, facts) for profile in candidates}
    named = [profile for profile in candidates if matches[profile.name]]
    longest = max((matches[profile.name] for profile in named), default=0)
    best = [profile for profile in named if matches[profile.name] == longest]
    if not best:
        best = [profile for profile in candidates if _for_any_board(profile, facts)]
    if not best:
        raise ProfileUndecided(device=device, reason=_nothing_fits(facts))
    profile = _preferred(best, device=device)
    if reasons := accepts(profile, facts):
        raise BoardRefused(
            device=device,
            profile=profile.name,
            reason="; ".join(reason.fact for reason in reasons),
            way_out=next((reason.way_out for reason in reasons if reason.way_out), ""),
        )
    return profile, _why(profile, facts, longest)


def _matched(profile: DeviceProfile, facts: BoardFacts) -> int:
    """How many characters of what the board calls itself the profile names; 0 when it names another board."""
    return max((len(model) for model in profile.models if facts.model.startswith(model)), default=0)


def _for_any_board(profile: DeviceProfile, facts: BoardFacts) -> bool:
    """Whether a profile that is made for no board in particular is of the board's architecture.

    A 32-bit Arm system counts as 64-bit Arm here: it is refused afterwards, with the way out.
    """
    if profile.models or profile.emulated:
        return False
    is_arm = facts.architecture.startswith(("arm", "aarch64"))
    return profile.architecture == ("aarch64" if is_arm else facts.architecture)


def _preferred(best: list[DeviceProfile], *, device: str) -> DeviceProfile:
    """The one of several profiles that fit alike."""
    own = [profile for profile in best if profile.extra.get(OWN)]
    left = own or best
    names = {profile.name for profile in left}
    bases = [profile for profile in left if profile.extra.get(EXTENDS) not in names]
    if len(bases) != 1:
        raise ProfileUndecided(device=device, reason=f"{' and '.join(sorted(names))} fit it alike")
    return bases[0]


def _why(profile: DeviceProfile, facts: BoardFacts, longest: int) -> str:
    if longest:
        return f"it calls itself `{facts.model}`, and `{profile.name}` is for that"
    called = f"`{facts.model}`" if facts.model else "a board without a name"
    return f"no profile is for {called}, and `{profile.name}` is for any {profile.architecture} board"


def _nothing_fits(facts: BoardFacts) -> str:
    called = f"`{facts.model}`" if facts.model else "nothing"
    kind = "a simulated board that" if facts.simulated else f"an {facts.architecture} board that"
    return f"it is {kind} calls itself {called}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ProfileInvalid(path=path, reason=str(error)) from error


def _whole(name: str, files: Mapping[str, list[_File]]) -> dict[str, Any]:
    """The table of a profile with what it extends filled in; a table of numbers is replaced whole.

    A profile of the fleet folder may extend the very one that it takes the place of.
    """
    path = files[name][-1].path
    table: dict[str, Any] = {}
    seen: list[_File] = []
    left = list(files[name])
    while left:
        file = left.pop()
        if file in seen:
            chain = " extends ".join(seen_file.path.stem for seen_file in [*seen, file])
            raise ProfileInvalid(path=path, reason=f"`extends` leads round in a circle: {chain}")
        seen.append(file)
        table = {**file.table, **table}
        above = file.table.get(EXTENDS)
        if above is None:
            break
        if not isinstance(above, str):
            raise ProfileInvalid(
                path=file.path, reason=f"`extends` must be a profile's name, found {above!r}"
            )
        if above != file.path.stem:
            left = list(files.get(above, ()))
        elif not left:
            raise ProfileInvalid(path=file.path, reason="`extends` names the profile itself")
        if not left:
            raise ProfileUnknown(profile=above, suggestion=did_you_mean(above, files))
    table[EXTENDS] = files[name][-1].table.get(EXTENDS)
    return table


def _profile(file: _File, table: dict[str, Any]) -> DeviceProfile:
    extends, path = table.pop(EXTENDS), file.path
    _check_fields(table, path)
    kept = {key: value for key, value in ((EXTENDS, extends), (OWN, file.own)) if value}
    try:
        profile = from_plain(DeviceProfile, {**table, "name": path.stem, **kept})
    except DocumentInvalid as error:
        raise ProfileInvalid(path=path, reason=error.facts["reason"]) from error
    _check_values(profile, path)
    return profile


def _check_fields(table: Mapping[str, Any], path: Path) -> None:
    """That every field is known and every choice is one, each with the one that was probably meant."""
    for field, value in table.items():
        if field not in _FIELDS:
            hint = did_you_mean(field, (*_FIELDS, EXTENDS))
            raise ProfileInvalid(path=path, reason=f"`{field}` is not known{hint}")
        if field in _NUMBERS and isinstance(value, dict):
            for inner in value:
                if inner not in _NUMBER_FIELDS:
                    hint = did_you_mean(inner, _NUMBER_FIELDS)
                    raise ProfileInvalid(path=path, reason=f"`{field}.{inner}` is not known{hint}")
        if field in _NUMBERS and not isinstance(value, dict):
            raise ProfileInvalid(
                path=path,
                reason=f"`{field}` must be a section with `value` and `source`, found {value!r}",
            )
        known = _CHOICES.get(field, ())
        if known and isinstance(value, str) and value not in known:
            hint = did_you_mean(value, known)
            raise ProfileInvalid(
                path=path, reason=f"`{field}` must be one of {', '.join(known)}, found `{value}`{hint}"
            )


def _check_values(profile: DeviceProfile, path: Path) -> None:
    """What the schema alone can't tell: numbers that can be, with a source, and Python versions that are run."""
    for field in _NUMBERS:
        number: Sourced = getattr(profile, field)
        if number.value <= 0:
            raise ProfileInvalid(path=path, reason=f"`{field}.value` must be above 0, found {number.value:g}")
        if not number.source.strip():
            raise ProfileInvalid(path=path, reason=f"`{field}.source` must say where the number comes from")
    page = int(profile.page_size_bytes.value)
    if page & (page - 1):
        raise ProfileInvalid(
            path=path, reason=f"`page_size_bytes.value` must be a power of two, found {page}"
        )
    if profile.memory_limit_mib.value > profile.memory_mib.value:
        raise ProfileInvalid(path=path, reason="`memory_limit_mib` is larger than `memory_mib`")
    for version in profile.pythons:
        if version not in PYTHONS:
            raise ProfileInvalid(
                path=path,
                reason=f"`pythons` names {version}, the agent runs on {PYTHONS[0]} to {PYTHONS[-1]}",
            )
    if not profile.pythons:
        raise ProfileInvalid(path=path, reason="`pythons` is empty")
