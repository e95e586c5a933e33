"""What a journal means: the state of a rollout and of each of its boards, as a pure fold over the entries.

The rule: the state is nothing but what the entries say, in their order, along the tables of `edge.rollouts.state`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from agent.contract.errors import DocumentInvalid
from edge.rollouts.entries import Asked, Entry, Reason
from edge.rollouts.plan import Plan, Wave
from edge.rollouts.state import (
    ASKING,
    BOARD_EVENTS,
    END_STATES,
    GOING_BACK,
    HAS_RELEASE,
    STEPS,
    TRANSITIONS,
    MemberState,
    RolloutEvent,
    RolloutState,
)


@dataclass(frozen=True, kw_only=True)
class MemberNow:
    """Where a board stands.

    Attributes:
        asked: the desired state that gives it the release, asked_back: that takes it back; None where none was signed.
        reason: of its last change.
        unreached: it could not be reached the last time.
    """

    state: MemberState = MemberState.WAITING
    asked: Asked | None = None
    asked_back: Asked | None = None
    reason: Reason | None = None
    unreached: bool = False


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Where a rollout stands.

    Attributes:
        plan: fixed. state: now. since: of the last entry, seconds since 1970. begun: of the first.
        wave: index of the wave at work.
        members: by the device's name.
        reason: of the last change of the rollout itself, where one was given.
        mark: position in the store since which the wave is watched; None until all of its boards have ended.
        before: the span before the wave, as two positions; empty where there was nothing.
    """

    plan: Plan
    state: RolloutState
    begun: float
    since: float
    wave: int = 0
    members: Mapping[str, MemberNow]
    reason: Reason | None = None
    mark: int | None = None
    before: tuple[int, ...] = ()

    @property
    def current_wave(self) -> Wave:
        """The wave at work, or the last one that was."""
        return self.plan.waves[self.wave]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state not in END_STATES

    @property
    def is_last_wave(self) -> bool:
        """Whether no wave follows."""
        return self.wave + 1 == len(self.plan.waves)

    @property
    def outstanding(self) -> tuple[str, ...]:
        """Boards that have something to do in the wave at work, by what the rollout wants of them now."""
        return tuple(name for name in self._concerned if not self.members[name].unreached)

    @property
    def unreached(self) -> tuple[str, ...]:
        """Boards that have something to do, and could not be reached; `resume` takes them up again."""
        return tuple(name for name in self._concerned if self.members[name].unreached)

    @property
    def has_release(self) -> tuple[str, ...]:
        """All boards that may run the release because of this rollout."""
        return tuple(name for name, member in self.members.items() if member.state in HAS_RELEASE)

    @property
    def _concerned(self) -> tuple[str, ...]:
        """Boards with something to do, in the order of their waves."""
        return tuple(
            member.device
            for index, wave in enumerate(self.plan.waves)
            for member in wave.members
            if self._concerns(index, self.members[member.device].state)
        )

    def _concerns(self, wave: int, state: MemberState) -> bool:
        """Forward: who has no end yet, up to this wave. Back: who may have the release; after a halt, boards whose
        own wave went through keep it."""
        if self.state not in GOING_BACK:
            return wave <= self.wave and state in (MemberState.WAITING, MemberState.ASKED)
        if self.state in (RolloutState.HALTING, RolloutState.HALTED) and state is MemberState.UPDATED:
            return wave == self.wave
        return state in HAS_RELEASE


def fold(entries: Iterable[Entry]) -> Rollout:
    """The state after `entries`, of which there is at least one.

    Raises:
        DocumentInvalid: an entry can't follow those before it.
    """
    first, *rest = entries
    return reduce(after, rest, begin(first))


def begin(entry: Entry) -> Rollout:
    """The state after the first entry.

    Raises:
        DocumentInvalid: it holds no plan.
    """
    if entry.event is not RolloutEvent.PLAN or entry.plan is None:
        raise DocumentInvalid(document="Entry", reason="the first entry must hold the plan")
    return Rollout(
        plan=entry.plan,
        state=RolloutState.PLANNED,
        begun=entry.at,
        since=entry.at,
        members={member.device: MemberNow() for member in entry.plan.members},
    )


def after(rollout: Rollout, entry: Entry) -> Rollout:
    """The state after one more entry.

    Raises:
        DocumentInvalid: it can't follow.
    """
    if entry.event in BOARD_EVENTS:
        name = entry.device
        if name is None or name not in rollout.members:
            raise DocumentInvalid(document="Entry", reason=f"`{name}` is no board of this rollout")
        if rollout.state not in ASKING.get(entry.event, (rollout.state,)):
            raise _impossible(entry.event, rollout.state.value)
        members = {**rollout.members, name: _member_after(rollout.members[name], entry)}
        mark = None if entry.event is RolloutEvent.UPDATED else rollout.mark
        return dataclasses.replace(rollout, members=members, since=entry.at, mark=mark)
    try:
        state = TRANSITIONS[rollout.state, entry.event]
    except KeyError:
        raise _impossible(entry.event, rollout.state.value) from None
    # why a rollout went back stays the reason until it goes another way
    kept = rollout.reason if {rollout.state, state} <= GOING_BACK else None
    changed = dataclasses.replace(rollout, state=state, since=entry.at, reason=entry.reason or kept)
    match entry.event:
        case RolloutEvent.BEGIN:
            return dataclasses.replace(changed, before=entry.before or ())
        case RolloutEvent.SETTLE:
            return dataclasses.replace(changed, mark=entry.mark)
        case RolloutEvent.ADVANCE:
            if rollout.is_last_wave:
                raise DocumentInvalid(document="Entry", reason="no wave follows the last one")
            return dataclasses.replace(changed, wave=rollout.wave + 1, mark=None, before=entry.before or ())
        case RolloutEvent.RESUME | RolloutEvent.HALT | RolloutEvent.TAKE_BACK:
            return dataclasses.replace(changed, members=_taken_up(rollout.members))
    return changed


def _member_after(member: MemberNow, entry: Entry) -> MemberNow:
    try:
        state = STEPS[member.state, entry.event]
    except KeyError:
        raise _impossible(entry.event, member.state.value) from None
    unreached = entry.event is RolloutEvent.UNREACHED
    changed = dataclasses.replace(member, state=state, reason=entry.reason, unreached=unreached)
    if entry.event in (RolloutEvent.ASKED, RolloutEvent.ASKED_BACK) and entry.asked is None:
        raise DocumentInvalid(document="Entry", reason=f"`{entry.event.value}` without what was asked for")
    if entry.event is RolloutEvent.ASKED:
        return dataclasses.replace(changed, asked=entry.asked)
    if entry.event is RolloutEvent.ASKED_BACK:
        return dataclasses.replace(changed, asked_back=entry.asked)
    return changed


def _taken_up(members: Mapping[str, MemberNow]) -> dict[str, MemberNow]:
    return {name: dataclasses.replace(member, unreached=False) for name, member in members.items()}


def _impossible(event: RolloutEvent, state: str) -> DocumentInvalid:
    return DocumentInvalid(document="Entry", reason=f"{event.value} can't happen in {state}")
