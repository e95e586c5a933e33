"""The signed word of what a board is to run: made anew, or the last one again where it was not carried out.

The rule: a counter only grows, whoever knows the highest; and what a cut flash asked for is asked for again as it was,
so that a board that is at work on it goes on.
"""

from __future__ import annotations

import dataclasses
import time

from agent.contract.messages import Reported
from agent.contract.release import DesiredState, Generation, TrialTerms
from agent.contract.states import END_STATES
from edge.repository import new_nonce
from edge.rollouts.workspace import Workspace

WAIT_SPARE_S = 60.0
"""Granted to a board for verifying and unpacking, beyond the deadlines of its trial, for each attempt."""


def assign(
    workspace: Workspace, device_id: str, content: Generation, reported: Reported | None
) -> DesiredState:
    """A new desired state, or the last one when it is the same and the board has not come to its end."""
    repository = workspace.repository
    seen = _highest(reported)
    last = repository.desired(device_id)
    if last is not None and last.generation.same_content(content) and not has_ended(last, reported):
        under_way = reported is not None and last.counter == seen and reported.state not in END_STATES
        if last.counter > seen or under_way:
            return last
    config = workspace.folder.config
    counter = repository.next_counter(device_id, seen=seen)
    desired = DesiredState(
        fleet=config.fleet,
        device=device_id,
        counter=counter,
        generation=dataclasses.replace(content, number=counter),
        nonce=new_nonce(),
        not_before=int(time.time()),
        finalise=finished(reported, content),
        terms=TrialTerms(
            probation_s=config.probation_s,
            check_timeout_s=config.check_timeout_s,
            start_timeout_s=config.start_timeout_s,
        ),
    )
    repository.assign(desired)
    return desired


def has_ended(desired: DesiredState, reported: Reported | None) -> bool:
    """Whether a board remembers how a desired state ended; its counter begins anew where other keys sign these, and a
    state that it refused before is not looked at once more then."""
    asked = (desired.counter, desired.generation.title)
    return reported is not None and asked in [(entry.counter, entry.title) for entry in reported.history]


def _highest(reported: Reported | None) -> int:
    """The highest number that a board knows: after its trust was reset its counter begins anew, and the generation that
    it runs keeps its number."""
    if reported is None:
        return 0
    return max(reported.counter, reported.current.number if reported.current else 0)


def finished(reported: Reported | None, content: Generation) -> int:
    """The counter up to which a board's earlier rollout is finished; 0 for none.

    What it confirmed and still runs is finished when something else is asked for: the generation before it may go,
    which the board does only where there is no room for the next.
    """
    current = reported.current if reported and reported.state in END_STATES else None
    return current.number if current is not None and not current.same_content(content) else 0


def runs_already(workspace: Workspace, device_id: str, reported: Reported, content: Generation) -> bool:
    """Whether a board runs `content`, and was not asked for anything else that it has not looked at."""
    current = reported.current
    if current is None or not current.same_content(content) or reported.state not in END_STATES:
        return False
    last = workspace.repository.desired(device_id)
    return last is None or last.counter <= reported.counter or last.generation.same_content(content)


def patience_s(terms: TrialTerms) -> float:
    """How long a board may take to carry an update to its end, all attempts together, in seconds."""
    attempt = terms.check_timeout_s + terms.start_timeout_s + terms.probation_s + WAIT_SPARE_S
    return attempt * terms.max_attempts
