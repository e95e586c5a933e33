"""The states of an update and the one table of what may follow what.

The rule: an update moves only along `TRANSITIONS`; the board saves the new state before it acts on it. What an
event is not listed for, it can't do: `advance` refuses.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from agent.contract.errors import DocumentInvalid


class UpdateState(str, enum.Enum):
    """Where an update stands."""

    NONE = "none"
    """Nothing was ever asked of this board."""
    STAGED = "staged"
    """Verified and unpacked; nothing of it has run."""
    CHECKING = "checking"
    """Runs beside the current generation, on the golden set; serves nobody."""
    PROBATION = "probation"
    """Serves, while `current` still names the generation before it."""
    CONFIRMED = "confirmed"
    """`current`; the generation before it stays pinned."""
    FINALISED = "finalised"
    """`current`, and the generation before it may be reclaimed."""
    REFUSED = "refused"
    """Did not pass before it served; `current` was never touched."""
    ROLLED_BACK = "rolled-back"
    """Served in probation and was taken back; `current` serves again."""
    INCONSISTENT = "inconsistent"
    """Could neither be finished nor taken back; a person is needed."""
    UNKNOWN = "unknown"


class UpdateEvent(str, enum.Enum):
    """What moves an update."""

    STAGE = "stage"
    """A new desired state was verified and all that it names is on the board."""
    BEGIN_CHECK = "begin-check"
    CHECK_PASSED = "check-passed"
    CHECK_FAILED = "check-failed"
    PROBATION_PASSED = "probation-passed"
    PROBATION_FAILED = "probation-failed"
    INTERRUPTED = "interrupted"
    """The update process or the board went away and came back; one attempt is spent."""
    ATTEMPTS_EXHAUSTED = "attempts-exhausted"
    SUPERSEDED = "superseded"
    """A newer desired state arrived; the board first returns to `current`."""
    ROLLBACK_FAILED = "rollback-failed"
    FINALISE = "finalise"


_S, _E = UpdateState, UpdateEvent

TRANSITIONS: Mapping[tuple[UpdateState, UpdateEvent], UpdateState] = {
    (_S.NONE, _E.STAGE): _S.STAGED,
    (_S.CONFIRMED, _E.STAGE): _S.STAGED,
    (_S.FINALISED, _E.STAGE): _S.STAGED,
    (_S.REFUSED, _E.STAGE): _S.STAGED,
    (_S.ROLLED_BACK, _E.STAGE): _S.STAGED,
    (_S.INCONSISTENT, _E.STAGE): _S.STAGED,
    (_S.STAGED, _E.BEGIN_CHECK): _S.CHECKING,
    (_S.STAGED, _E.INTERRUPTED): _S.STAGED,
    (_S.STAGED, _E.ATTEMPTS_EXHAUSTED): _S.REFUSED,
    (_S.STAGED, _E.SUPERSEDED): _S.REFUSED,
    (_S.CHECKING, _E.CHECK_PASSED): _S.PROBATION,
    (_S.CHECKING, _E.CHECK_FAILED): _S.REFUSED,
    (_S.CHECKING, _E.INTERRUPTED): _S.STAGED,
    (_S.CHECKING, _E.ATTEMPTS_EXHAUSTED): _S.REFUSED,
    (_S.CHECKING, _E.SUPERSEDED): _S.REFUSED,
    (_S.PROBATION, _E.PROBATION_PASSED): _S.CONFIRMED,
    (_S.PROBATION, _E.PROBATION_FAILED): _S.ROLLED_BACK,
    (_S.PROBATION, _E.INTERRUPTED): _S.PROBATION,
    (_S.PROBATION, _E.ATTEMPTS_EXHAUSTED): _S.ROLLED_BACK,
    (_S.PROBATION, _E.SUPERSEDED): _S.ROLLED_BACK,
    (_S.PROBATION, _E.ROLLBACK_FAILED): _S.INCONSISTENT,
    (_S.ROLLED_BACK, _E.ROLLBACK_FAILED): _S.INCONSISTENT,
    (_S.CONFIRMED, _E.FINALISE): _S.FINALISED,
}

END_STATES = frozenset({_S.NONE, _S.CONFIRMED, _S.FINALISED, _S.REFUSED, _S.ROLLED_BACK, _S.INCONSISTENT})
"""States in which the board has nothing left to do."""


def advance(state: UpdateState, event: UpdateEvent) -> UpdateState:
    """The state after `event`.

    Raises:
        DocumentInvalid: `event` can't happen in `state`.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise DocumentInvalid(
            document="update", reason=f"{event.value} can't happen in {state.value}"
        ) from None
