"""How a desired state ended, by the board's own signed report alone.

The rule: nothing is assumed. A report that does not speak of it leaves it open, and one that speaks of another
desired state with its number (a truthful one, of a time that a restored folder has forgotten) is no word on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.contract.errors import ReplayRefused, Superseded
from agent.contract.messages import Reported
from agent.contract.states import END_STATES, UpdateState
from edge.rollouts.entries import Asked, Reason
from edge.rollouts.outcome import SETTLED


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How it ended, and why where it did not end well."""

    state: UpdateState
    reason: Reason | None

    @property
    def well(self) -> bool:
        """Whether the board runs what was asked for, as far as this update goes."""
        return self.state in SETTLED


def ending(reported: Reported | None, asked: Asked) -> Ending | None:
    """How `asked` ended, or None where the board has not looked at it or is at work on it."""
    if reported is None or reported.counter < asked.counter:
        return None
    if reported.counter == asked.counter:
        if reported.nonce != asked.nonce and reported.current != asked.content:
            other = ReplayRefused(document="the desired state", found=asked.counter, seen=reported.counter)
            return Ending(state=UpdateState.REFUSED, reason=_reason(other.code, str(other)))
        if reported.in_progress or reported.state not in END_STATES:
            return None
        return Ending(state=reported.state, reason=_reason(reported.code, reported.message))
    for entry in reported.history:
        if entry.counter == asked.counter:
            return Ending(state=entry.state, reason=_reason(entry.code, entry.message))
    superseded = Superseded(counter=asked.counter, newer=reported.counter)
    return Ending(state=UpdateState.REFUSED, reason=_reason(superseded.code, str(superseded)))


def _reason(code: str | None, message: str | None) -> Reason | None:
    return Reason(code=code, message=message or "") if code is not None else None
