"""What became of each board in a rollout: the journal's word, with what the board's own signed report adds to it.

The rule: states, counters and reasons are the journal's; attempts and measured numbers are the board's, found by the
counter that it was asked with. A board of which nothing is stored has the journal's word alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.contract.messages import HistoryEntry, Reported
from edge.rollouts.entries import Asked, Entry, Reason
from edge.rollouts.fold import Rollout
from edge.rollouts.state import MemberState, RolloutEvent


@dataclass(frozen=True, kw_only=True)
class BoardHistory:
    """One board in one rollout.

    Attributes:
        device: its name. wave: from 1.
        before, wanted: titles of what it ran and what it was asked for; None where it was not asked.
        counter: of the desired state that asked; 0 where none did.
        state: now. unreached: it could not be reached the last time.
        at: of its last change, seconds since 1970; None where nothing happened.
        reason: of that, where one was given.
        ended: how the board itself says that this desired state ended, with attempts and numbers; None where that is
            not stored.
    """

    device: str
    wave: int
    before: str | None
    wanted: str | None
    counter: int
    state: MemberState
    unreached: bool
    at: float | None
    reason: Reason | None
    ended: HistoryEntry | None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A change of the rollout as a whole: when, what, and why."""

    at: float
    event: RolloutEvent
    reason: Reason | None


def boards(
    entries: Iterable[Entry], rollout: Rollout, report: Callable[[str], Reported | None]
) -> tuple[BoardHistory, ...]:
    """Every board of the plan, in the order of the waves.

    Args:
        entries: of the journal.
        rollout: the state after them.
        report: a board's newest verified report that is stored, by the board's id.
    """
    last = {entry.device: entry.at for entry in entries if entry.device is not None}
    found = []
    for number, wave in enumerate(rollout.plan.waves, start=1):
        for member in wave.members:
            now = rollout.members[member.device]
            asked = now.asked
            found.append(
                BoardHistory(
                    device=member.device,
                    wave=number,
                    before=asked.before.title if asked and asked.before else None,
                    wanted=asked.content.title if asked else None,
                    counter=asked.counter if asked else 0,
                    state=now.state,
                    unreached=now.unreached,
                    at=last.get(member.device),
                    reason=now.reason,
                    ended=_ended(report(member.device_id), asked),
                )
            )
    return tuple(found)


def turns(entries: Iterable[Entry]) -> tuple[Turn, ...]:
    """What happened to the rollout as a whole, in its order."""
    return tuple(
        Turn(at=entry.at, event=entry.event, reason=entry.reason) for entry in entries if entry.device is None
    )


def _ended(reported: Reported | None, asked: Asked | None) -> HistoryEntry | None:
    if reported is None or asked is None:
        return None
    return next((entry for entry in reported.history if entry.counter == asked.counter), None)
