"""One board's part of a rollout, from the first attempt to an entry in the journal.

The rule: a board that can't be reached is not a board that failed. It is tried again with growing pauses while this
machine is awake, and what it says itself, by whatever way, decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.contract.errors import (
    AuthenticationFailed,
    ConnectionLost,
    DeadlinePassed,
    DeviceBusy,
    DocumentInvalid,
    EdgeError,
    FleetFolderBusy,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnknown,
    HostUnreachable,
)
from agent.contract.messages import Reported
from edge.rollouts.awake import AwakeClock
from edge.rollouts.crew import Going, Stopped
from edge.rollouts.entries import Asked
from edge.rollouts.fold import MemberNow
from edge.rollouts.journal import Journal
from edge.rollouts.plan import Member
from edge.rollouts.road import Outcome, reason_of
from edge.rollouts.settling import ending
from edge.rollouts.state import RolloutEvent
from edge.rollouts.update import Assigned, Hooks

TRIED_AGAIN = (HostUnknown, HostUnreachable, ConnectionLost, DeadlinePassed, DeviceBusy, FleetFolderBusy)
"""Passes by itself, often."""
UNREACHED = (*TRIED_AGAIN, HostKeyUnknown, HostKeyChanged, AuthenticationFailed)
"""The board was not asked, or its answer did not come; it says nothing for or against the release."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_VISIT = 10
"""A board that answers now and then keeps an errand going so many times `reach_s` at most."""

Attempt = Callable[[Member, MemberNow, Hooks], Outcome]
Reports = Callable[[str], Reported | None]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What is to be done with boards of one rollout; made by `bringing` and `taking_back`.

    Attributes:
        journal: where it is written.
        attempt: one attempt at a board.
        asking: what is written when a board is asked. well, badly: how it ended.
        asked: the desired state that a board was asked for on this errand, or None.
        reports: a board's newest verified report that came by another way, by its id.
        clock: of this machine being awake.
    """

    journal: Journal
    attempt: Attempt
    asking: RolloutEvent
    well: RolloutEvent
    badly: RolloutEvent
    asked: Callable[[MemberNow], Asked | None]
    reports: Reports
    clock: AwakeClock

    def run(self, name: str, going: Going) -> None:
        """Bring one board to its end, or find that it can't be reached; then write it."""
        outcome = _Visit(self, name, going).outcome()
        try:
            self.journal.append(outcome.event, device=name, reason=outcome.reason)
        except DocumentInvalid as error:
            # Meanwhile the board is on its way back; its own report tells the rest.
            raise Stopped from error


def bringing(journal: Journal, bring: Attempt, reports: Reports, clock: AwakeClock) -> Errand:
    """Give boards the release."""
    return Errand(
        journal=journal,
        attempt=bring,
        asking=RolloutEvent.ASKED,
        well=RolloutEvent.UPDATED,
        badly=RolloutEvent.FAILED,
        asked=lambda member: member.asked,
        reports=reports,
        clock=clock,
    )


def taking_back(journal: Journal, take_back: Attempt, reports: Reports, clock: AwakeClock) -> Errand:
    """Take boards back from the release."""
    return Errand(
        journal=journal,
        attempt=take_back,
        asking=RolloutEvent.ASKED_BACK,
        well=RolloutEvent.BACK,
        badly=RolloutEvent.LEFT,
        asked=lambda member: member.asked_back,
        reports=reports,
        clock=clock,
    )


class _Visit:
    """The attempts at one board."""

    def __init__(self, errand: Errand, name: str, going: Going) -> None:
        plan = errand.journal.rollout.plan
        self._errand = errand
        self._member = next(member for member in plan.members if member.device == name)
        self._reach_s = plan.patience.reach_s
        self._going = going
        self._began = self._heard = errand.clock.now_s()

    @property
    def _now(self) -> MemberNow:
        return self._errand.journal.rollout.members[self._member.device]

    def outcome(self) -> Outcome:
        """Try until it is known how it ended, or it is late."""
        pause_s = FIRST_PAUSE_S
        hooks = Hooks(on_assigned=self._write_asked, go_on=self._go_on)
        while True:
            self._going.check()
            try:
                return self._errand.attempt(self._member, self._now, hooks)
            except UNREACHED as error:
                if (outcome := self._heard_otherwise()) is not None:
                    return outcome
                if not isinstance(error, TRIED_AGAIN) or self._is_late():
                    return Outcome(event=RolloutEvent.UNREACHED, reason=reason_of(error))
            except EdgeError as error:
                return Outcome(event=self._errand.badly, reason=reason_of(error))
            self._going.wait(random.uniform(0, pause_s))  # full jitter: boards do not come back in step
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _write_asked(self, assigned: Assigned) -> None:
        """Write what is asked for, unless it is what a cut left; Stopped where nobody is asked any more."""
        desired = assigned.desired
        known = self._errand.asked(self._now)
        if known is not None and known.counter == desired.counter:
            return
        asked = Asked(
            counter=desired.counter,
            nonce=desired.nonce,
            content=desired.generation,
            before=assigned.before,
        )
        self._going.check()
        try:
            self._errand.journal.append(self._errand.asking, device=self._member.device, asked=asked)
        except DocumentInvalid as error:
            raise Stopped from error

    def _go_on(self) -> None:
        self._heard = self._errand.clock.now_s()
        self._going.check()

    def _is_late(self) -> bool:
        now = self._errand.clock.now_s()
        return now - self._heard >= self._reach_s or now - self._began >= self._reach_s * LONGEST_VISIT

    def _heard_otherwise(self) -> Outcome | None:
        """What the board said of it over MQTT, where SSH does not reach it."""
        asked = self._errand.asked(self._now)
        found = ending(self._errand.reports(self._member.device_id), asked) if asked else None
        if found is None:
            return None
        if found.well:
            return Outcome(event=self._errand.well)
        return Outcome(event=self._errand.badly, reason=found.reason)
