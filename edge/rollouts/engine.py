"""A rollout at work: the boards of a wave, the gate, the next wave; or all the way back.

The rule: this loop decides by the journal's state, the evidence and the clock alone, writes what it decided, and does
it then. Whatever ends it, at any line, the next one goes on from the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.contract.codec import to_plain
from agent.contract.errors import ExitCode
from agent.contract.messages import Reported
from edge.rollouts import wishes
from edge.rollouts.awake import AwakeClock
from edge.rollouts.conditions import read_conditions
from edge.rollouts.crew import Crew
from edge.rollouts.endings import exit_code
from edge.rollouts.entries import Reason
from edge.rollouts.errand import bringing, taking_back
from edge.rollouts.evidence import Evidence
from edge.rollouts.fold import MemberNow, Rollout
from edge.rollouts.gate import CheckVerdict, Decision, Verdict, decide
from edge.rollouts.interruption import Interruption
from edge.rollouts.journal import Journal
from edge.rollouts.plan import Member
from edge.rollouts.road import Outcome
from edge.rollouts.state import RolloutEvent, RolloutState
from edge.rollouts.update import Hooks
from edge.rollouts.wishes import Wish

FORWARD = (RolloutState.RUNNING, RolloutState.HOLDING)
BACKWARD = (RolloutState.HALTING, RolloutState.TAKING_BACK)
LEAST_BEFORE_S = 60.0
"""How long before a wave its boards are looked at, at least, for what they differ by anyway."""


class Ways(Protocol):
    """How a board is given the release and taken back from it (`edge.rollouts.road.Road`)."""

    def bring(self, member: Member, now: MemberNow, hooks: Hooks) -> Outcome:
        """Give it the release."""

    def take_back(self, member: Member, now: MemberNow, hooks: Hooks) -> Outcome:
        """Take it back."""


class Witness(Protocol):
    """What is known of the boards (`edge.rollouts.watch.Watch`)."""

    def keep_collecting(self) -> None:
        """Have somebody there who takes what boards report."""

    def mark(self) -> int | None:
        """Where the store ends now; None where that can't be told."""

    def span_before(self, seconds: float) -> tuple[int, ...]:
        """The last `seconds`, as two marks."""

    def evidence(self, rollout: Rollout) -> Evidence:
        """Of the wave at work."""

    def report(self, device_id: str) -> Reported | None:
        """A board's newest verified report."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast it works.

    Attributes:
        pool: how many boards at once.
        period_s: between two looks of the gate.
    """

    pool: int
    period_s: float


class Engine:
    """One rollout at work, in the hands of whoever holds its journal."""

    def __init__(self, journal: Journal, ways: Ways, witness: Witness, pace: Pace) -> None:
        self._journal = journal
        self._witness = witness
        self._pace = pace
        self._conditions = read_conditions(journal.rollout.plan.conditions)
        self._clock = AwakeClock()
        self._interruption = Interruption()
        self._forth = Crew(pace.pool, bringing(journal, ways.bring, witness.report, self._clock).run)
        self._back = Crew(pace.pool, taking_back(journal, ways.take_back, witness.report, self._clock).run)
        self._promoted = False
        self._held_since_s: float | None = None

    def run(self, *, promoted: bool = False) -> ExitCode:
        """Work until there is nothing left to do, or somebody wants it to stop.

        Args:
            promoted: as if `Wish.PROMOTE` came first.

        Returns:
            How it ended; `ExitCode.INTERRUPTED` where a signal ended it.

        Raises:
            OSError: the journal can't be written.
        """
        self._promoted = promoted
        wishes.take(self._journal.folder)
        with self._interruption.noted():
            try:
                while self._goes_on():
                    self._clock.now_s()  # looked at often, so that it knows sleep from work
                    self._witness.keep_collecting()
                    self._hear()
                    before = self._journal.rollout
                    self._look()
                    if self._journal.rollout is before:
                        self._crew.rest(self._pace.period_s)
            finally:
                self._forth.stop()
                self._back.stop()
        if self._interruption.wanted:
            return ExitCode.INTERRUPTED
        return exit_code(self._journal.rollout)

    @property
    def _crew(self) -> Crew:
        return self._back if self._journal.rollout.state in BACKWARD else self._forth

    def _goes_on(self) -> bool:
        state = self._journal.rollout.state
        if self._interruption.wanted:
            if state in FORWARD:
                self._pause(Reason(code="machine.interrupted", message="interrupted"))
            return False
        if state in (*FORWARD, *BACKWARD, RolloutState.PLANNED):
            return True
        # boards that were asked before the pause are waited for; an end leaves them to themselves
        return state is RolloutState.PAUSED and not self._forth.idle

    def _hear(self) -> None:
        """Act on what another terminal wants."""
        wanted = wishes.take(self._journal.folder)
        state = self._journal.rollout.state
        if wanted is Wish.ABORT and state in (*FORWARD, RolloutState.PAUSED):
            self._journal.append(RolloutEvent.ABORT)
        elif wanted is Wish.PROMOTE and state in FORWARD:
            self._promoted = True
        elif wanted is Wish.PAUSE and state in FORWARD:
            self._pause(Reason(code="rollout.asked", message="somebody asked for it"))

    def _look(self) -> None:
        """One step, if there is one to take."""
        rollout = self._journal.rollout
        if rollout.state is RolloutState.PLANNED:
            self._journal.append(RolloutEvent.BEGIN, before=self._span_before())
        elif rollout.state in FORWARD:
            self._forward(rollout)
        elif rollout.state in BACKWARD:
            self._back.send(rollout.outstanding)
            if not rollout.outstanding and self._back.idle:
                self._journal.append(RolloutEvent.ENDED)

    def _forward(self, rollout: Rollout) -> None:
        self._forth.send(rollout.outstanding)
        decision = decide(self._witness.evidence(rollout), self._conditions)
        if decision.verdict is Verdict.ROLLBACK:
            self._journal.append(RolloutEvent.HALT, reason=reason_of(decision))
            self._forth.stop(wait_s=0.0)
            return
        if rollout.outstanding or not self._forth.idle or rollout is not self._journal.rollout:
            return
        mark = self._witness.mark()
        if mark is not None and (rollout.mark is None or mark < rollout.mark):  # a new store counts from 1
            self._journal.append(RolloutEvent.SETTLE, mark=mark)
        elif rollout.mark is not None and (decision.verdict is Verdict.ADVANCE or self._promoted):
            self._advance(rollout, decision)
        else:
            self._hold(rollout, decision)

    def _advance(self, rollout: Rollout, decision: Decision) -> None:
        reason = reason_of(decision)
        if decision.verdict is not Verdict.ADVANCE:
            reason = Reason(code="rollout.promoted", message="by hand", numbers=reason.numbers)
        if rollout.is_last_wave:
            self._journal.append(RolloutEvent.FINISH, reason=reason)
        else:
            self._journal.append(RolloutEvent.ADVANCE, reason=reason, before=self._span_before())
        self._promoted = False
        self._held_since_s = None

    def _hold(self, rollout: Rollout, decision: Decision) -> None:
        """Write why, when that changes; too long is a pause."""
        reason = reason_of(decision)
        now_s = self._clock.now_s()
        if self._held_since_s is None:
            self._held_since_s = now_s
        same = _open_checks(rollout.reason) == _open_checks(reason)
        if not (rollout.state is RolloutState.HOLDING and same):
            self._journal.append(RolloutEvent.HOLD, reason=reason)
        limit_s = rollout.plan.patience.hold_s + self._conditions.dwell_s
        if now_s - self._held_since_s >= limit_s:
            self._pause(
                Reason(
                    code="rollout.held",
                    message=f"the gate held for {limit_s:g} s: {reason.message}",
                    numbers=reason.numbers,
                )
            )

    def _pause(self, reason: Reason) -> None:
        self._journal.append(RolloutEvent.PAUSE, reason=reason)

    def _span_before(self) -> tuple[int, ...]:
        return self._witness.span_before(max(LEAST_BEFORE_S, self._conditions.dwell_s))


def reason_of(decision: Decision) -> Reason:
    """A decision as the journal keeps it; to go on, the sentence is about compute time, all else is in the numbers."""
    goes_on = decision.verdict is Verdict.ADVANCE
    told = [check for check in decision.reasons if not goes_on or check.name == "slowdown"]
    if any(check.name == "requests" for check in told):
        # Where requests are missing, nothing else could be measured either.
        told = [check for check in told if check.value is not None]
    return Reason(
        code=f"gate.{decision.verdict.value}",
        message="; ".join(dict.fromkeys(check.sentence for check in told)),
        numbers=tuple(to_plain(check) for check in decision.checks),
    )


def _open_checks(reason: Reason | None) -> set[tuple[str, str | None]]:
    """What is not settled yet: by this it is seen whether the reason for holding changed."""
    numbers = reason.numbers if reason is not None else ()
    opened = CheckVerdict.OPEN.value
    return {(check["name"], check.get("profile")) for check in numbers if check.get("verdict") == opened}
