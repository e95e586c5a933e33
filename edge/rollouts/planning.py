"""A plan out of what the user asked for: who takes part, who does not and why, what each board gets.

The rule: whatever would stand in the way later is looked for now; a board that was named and can't take part is an
error, one that was merely there is left out and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.contract.errors import DeviceBusy, PlanInvalid, ProfileUnknown
from agent.contract.names import parse_release
from agent.contract.release import Release
from edge.inventory import Device
from edge.rollouts.conditions import read_conditions
from edge.rollouts.folders import RolloutFolders
from edge.rollouts.plan import Member, Patience, Plan, Wave
from edge.rollouts.waves import Candidate, divide, in_order, read_waves
from edge.rollouts.workspace import Workspace

USUAL_WAVES = "1,10%,50%,100%"


@dataclass(frozen=True, kw_only=True)
class RolloutRequest:
    """What the user asked for.

    Attributes:
        release: `digits@4`.
        devices: names of boards; groups: profiles, or patterns of names. With neither, all boards.
        waves: as `edge.rollouts.waves.read_waves` takes them.
        conditions: name to text, as `edge.rollouts.conditions.read_conditions` takes them.
        patience: how long to wait.
    """

    release: str
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    waves: str = USUAL_WAVES
    conditions: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A board that does not take part, and why."""

    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A plan, and what a person should see before it begins.

    Attributes:
        plan: not written anywhere.
        left_out: boards that were meant, and can't take part. in_no_wave: boards that the last wave does not reach.
        busy: boards that another command is at work on now.
    """

    plan: Plan
    left_out: tuple[LeftOut, ...]
    in_no_wave: tuple[str, ...]
    busy: tuple[str, ...]


def draft(workspace: Workspace, request: RolloutRequest) -> Draft:
    """Make a plan. The same request makes the same plan until a rollout of this release has begun.

    Raises:
        PlanInvalid: waves, conditions, or a named board that can't take part, or nobody can.
        DeviceUnknown, ReleaseUnknown: what is named is not there.
    """
    release = workspace.repository.release(request.release)
    rules = read_waves(request.waves)
    conditions = read_conditions(request.conditions)
    rollout = RolloutFolders(workspace.folder).next_id(*parse_release(release.title))
    members: dict[str, Member] = {}
    left_out: list[LeftOut] = []
    for device in _selected(workspace, request):
        reason = _obstacle(workspace, device, release)
        if reason is None:
            members[device.name] = _member(device, release)
        elif device.name in request.devices:
            raise PlanInvalid(what=device.name, reason=reason)
        else:
            left_out.append(LeftOut(device=device.name, reason=reason))
    if not members:
        reasons = "; ".join(f"{one.device}: {one.reason}" for one in left_out[:3])
        raise PlanInvalid(what=release.title, reason=f"no board can take part ({reasons or 'there is none'})")
    ordered = in_order(
        rollout, [Candidate(one.device, one.device_id, one.profile) for one in members.values()]
    )
    waves = tuple(
        Wave(rule=str(rule), members=tuple(members[one.device] for one in wave))
        for rule, wave in divide(rules, ordered)
    )
    plan = Plan(
        rollout=rollout,
        release=release.title,
        waves=waves,
        conditions=conditions.texts(),
        patience=request.patience,
    )
    reached = [member.device for member in plan.members]
    return Draft(
        plan=plan,
        left_out=tuple(left_out),
        in_no_wave=tuple(name for name in members if name not in reached),
        busy=tuple(name for name in reached if _is_busy(workspace, name)),
    )


def _is_busy(workspace: Workspace, name: str) -> bool:
    try:
        with workspace.inventory.hold(name):
            return False
    except DeviceBusy:
        return True


def _selected(workspace: Workspace, request: RolloutRequest) -> Sequence[Device]:
    """The boards that are meant, by name."""
    devices = workspace.inventory.list()
    for name in request.devices:
        workspace.inventory.get(name)
    if not (request.devices or request.groups):
        return devices
    chosen = []
    for group in request.groups:
        if not any(_candidate(device).matches(group) for device in devices):
            raise PlanInvalid(what=f"--group {group}", reason="no board is of that profile or name")
    for device in devices:
        grouped = any(_candidate(device).matches(group) for group in request.groups)
        if grouped or device.name in request.devices:
            chosen.append(device)
    return chosen


def _candidate(device: Device) -> Candidate:
    return Candidate(device.name, device.device_id, device.profile or "")


def _obstacle(workspace: Workspace, device: Device, release: Release) -> str | None:
    """Why a board can't take part, or None."""
    if not device.enrolled or device.profile is None or device.facts is None:
        return "it was never flashed"
    try:
        workspace.profile(device.profile)
    except ProfileUnknown as error:
        return str(error)
    if device.profile not in release.bundles:
        return f"{release.title} has no bundle for its profile `{device.profile}`"
    twins = [other.name for other in workspace.inventory.list() if other.device_id == device.device_id]
    if twins[0] != device.name:
        return f"it is the board that is called `{twins[0]}` too"
    return None


def _member(device: Device, release: Release) -> Member:
    assert device.profile is not None, "it takes part"
    return Member(
        device=device.name,
        device_id=device.device_id,
        profile=device.profile,
        bundle=release.bundles[device.profile],
    )
