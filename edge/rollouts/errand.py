"""One board's part of a rollout, from the first attempt to an entry in the journal.

The rule: a board that can't be reached is not a board that failed. It is tried again with growing pauses while this
machine is awake, and what it says itself, by whatever way, decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable

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


class Errand:
    """Works on the boards of one rollout in one direction.

    Args:
        journal: where it is written.
        attempt: `Road.bring` or `Road.take_back`.
        asking: what is written when a board is asked. failing: when nothing can be asked of it.
        reports: a board's newest verified report that came by another way, by its id.
        clock: of this machine being awake.
    """

    def __init__(
        self,
        journal: Journal,
        attempt: Attempt,
        *,
        asking: RolloutEvent,
        failing: RolloutEvent,
        reports: Reports,
        clock: AwakeClock,
    ) -> None:
        self._journal = journal
        self._attempt = attempt
        self._asking = asking
        self._failing = failing
        self._reports = reports
        self._clock = clock
        self._members = {member.device: member for member in journal.rollout.plan.members}

    @classmethod
    def bringing(cls, journal: Journal, bring: Attempt, reports: Reports, clock: AwakeClock) -> Errand:
        """Gives boards the release."""
        return cls(
            journal,
            bring,
            asking=RolloutEvent.ASKED,
            failing=RolloutEvent.FAILED,
            reports=reports,
            clock=clock,
        )

    @classmethod
    def taking_back(cls, journal: Journal, take_back: Attempt, reports: Reports, clock: AwakeClock) -> Errand:
        """Takes boards back from the release."""
        return cls(
            journal,
            take_back,
            asking=RolloutEvent.ASKED_BACK,
            failing=RolloutEvent.LEFT,
            reports=reports,
            clock=clock,
        )

    def run(self, name: str, going: Going) -> None:
        """Bring one board to its end, or find that it can't be reached; then write it."""
        visit = _Visit(self, name, going)
        outcome = visit.outcome()
        try:
            self._journal.append(outcome.event, device=name, reason=outcome.reason)
        except (
            DocumentInvalid
        ) as error:  # meanwhile the board is on its way back; its own report tells the rest
            raise Stopped from error


class _Visit:
    """The attempts at one board."""

    def __init__(self, errand: Errand, name: str, going: Going) -> None:
        self._errand = errand
        self._member = errand._members[name]
        self._going = going
        self._began = self._heard = errand._clock.now_s()

    @property
    def _now(self) -> MemberNow:
        return self._errand._journal.rollout.members[self._member.device]

    def outcome(self) -> Outcome:
        pause_s = FIRST_PAUSE_S
        hooks = Hooks(on_assigned=self._asked, go_on=self._go_on)
        while True:
            self._going.check()
            try:
                return self._errand._attempt(self._member, self._now, hooks)
            except UNREACHED as error:
                if (outcome := self._heard_otherwise()) is not None:
                    return outcome
                if not isinstance(error, TRIED_AGAIN) or self._is_late():
                    return Outcome(event=RolloutEvent.UNREACHED, reason=reason_of(error))
            except EdgeError as error:
                return Outcome(event=self._errand._failing, reason=reason_of(error))
            self._going.wait(random.uniform(0, pause_s))  # full jitter: boards do not come back in step
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _asked(self, assigned: Assigned) -> None:
        """Write what is asked for, unless it is what a cut left; Stopped where nobody is asked any more."""
        desired = assigned.desired
        back = self._errand._asking is RolloutEvent.ASKED_BACK
        known = self._now.asked_back if back else self._now.asked
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
            self._errand._journal.append(self._errand._asking, device=self._member.device, asked=asked)
        except DocumentInvalid as error:
            raise Stopped from error

    def _go_on(self) -> None:
        self._heard = self._errand._clock.now_s()
        self._going.check()

    def _is_late(self) -> bool:
        now, reach_s = self._errand._clock.now_s(), self._errand._journal.rollout.plan.patience.reach_s
        return now - self._heard >= reach_s or now - self._began >= reach_s * LONGEST_VISIT

    def _heard_otherwise(self) -> Outcome | None:
        """What the board said of it over MQTT, where SSH does not reach it."""
        back = self._errand._asking is RolloutEvent.ASKED_BACK
        asked = self._now.asked_back if back else self._now.asked
        found = ending(self._errand._reports(self._member.device_id), asked) if asked else None
        if found is None:
            return None
        if found.well:
            return Outcome(event=RolloutEvent.BACK if back else RolloutEvent.UPDATED)
        return Outcome(event=self._errand._failing, reason=found.reason)
