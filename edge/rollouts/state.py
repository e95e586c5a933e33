"""The states of a rollout and of its boards, and the tables of what may follow what.

The rule: a rollout moves along `TRANSITIONS` alone and a board along `STEPS` alone; an entry of the journal that is
not listed for the state can't be written, and none that was written is ignored.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class RolloutState(enum.StrEnum):
    """Where a rollout stands."""

    PLANNED = "planned"
    """Who is in which wave is fixed; no board was touched."""
    RUNNING = "running"
    """The boards of a wave get the release."""
    HOLDING = "holding"
    """The boards of a wave have ended; the gate wants to see more before the next one."""
    PAUSED = "paused"
    """Nobody new is touched until it is resumed."""
    HALTING = "halting"
    """The gate found against the release; the boards of the wave go back."""
    HALTED = "halted"
    """The gate found against the release, and the boards of the wave were asked back."""
    ABORTED = "aborted"
    """A person ended it; every board keeps what it runs."""
    DONE = "done"
    """All waves went through."""
    TAKING_BACK = "taking-back"
    """A person wants the release off all boards that took it; they go back."""
    TAKEN_BACK = "taken-back"
    """All boards that took the release were asked back."""


class RolloutEvent(enum.StrEnum):
    """What an entry of the journal says. Those of boards name one."""

    PLAN = "plan"
    """Fixed: members, waves, conditions."""
    BEGIN = "begin"
    """The first wave may go."""
    SETTLE = "settle"
    """The boards of the wave have ended; from here on they are watched."""
    HOLD = "hold"
    """The gate wants to see more, and why."""
    ADVANCE = "advance"
    """The wave is done, the next one may go."""
    FINISH = "finish"
    """The last wave is done."""
    PAUSE = "pause"
    RESUME = "resume"
    """Go on; boards that could not be reached are taken up again."""
    HALT = "halt"
    """The gate found against the release, and the numbers."""
    ABORT = "abort"
    TAKE_BACK = "take-back"
    """A person wants it off all boards."""
    ENDED = "ended"
    """All boards that are to go back were asked."""
    ASKED = "asked"
    """The board's desired state is signed; nothing was sent yet."""
    UPDATED = "updated"
    """It confirmed the release."""
    UNCHANGED = "unchanged"
    """It ran the release before this rollout came to it."""
    FAILED = "failed"
    """It refused the release or rolled it back, or nothing could be asked of it."""
    UNREACHED = "unreached"
    """It could not be reached within the time that it was given."""
    ASKED_BACK = "asked-back"
    """The desired state that takes it back is signed; nothing was sent yet."""
    BACK = "back"
    """It runs what it ran before."""
    LEFT = "left"
    """It could not be taken back, or somebody else asked something else of it; a person must look."""


_S, _E = RolloutState, RolloutEvent

TRANSITIONS: Mapping[tuple[RolloutState, RolloutEvent], RolloutState] = {
    (_S.PLANNED, _E.BEGIN): _S.RUNNING,
    (_S.PLANNED, _E.ABORT): _S.ABORTED,
    (_S.RUNNING, _E.SETTLE): _S.RUNNING,
    (_S.RUNNING, _E.HOLD): _S.HOLDING,
    (_S.RUNNING, _E.ADVANCE): _S.RUNNING,
    (_S.RUNNING, _E.FINISH): _S.DONE,
    (_S.RUNNING, _E.PAUSE): _S.PAUSED,
    (_S.RUNNING, _E.HALT): _S.HALTING,
    (_S.RUNNING, _E.ABORT): _S.ABORTED,
    (_S.HOLDING, _E.SETTLE): _S.RUNNING,
    (_S.HOLDING, _E.HOLD): _S.HOLDING,
    (_S.HOLDING, _E.ADVANCE): _S.RUNNING,
    (_S.HOLDING, _E.FINISH): _S.DONE,
    (_S.HOLDING, _E.PAUSE): _S.PAUSED,
    (_S.HOLDING, _E.HALT): _S.HALTING,
    (_S.HOLDING, _E.ABORT): _S.ABORTED,
    (_S.RUNNING, _E.RESUME): _S.RUNNING,
    (_S.HOLDING, _E.RESUME): _S.RUNNING,
    (_S.PAUSED, _E.RESUME): _S.RUNNING,
    (_S.PAUSED, _E.ABORT): _S.ABORTED,
    (_S.PAUSED, _E.TAKE_BACK): _S.TAKING_BACK,
    (_S.HALTING, _E.ENDED): _S.HALTED,
    (_S.HALTING, _E.RESUME): _S.HALTING,
    (_S.HALTED, _E.RESUME): _S.HALTING,
    (_S.HALTED, _E.TAKE_BACK): _S.TAKING_BACK,
    (_S.ABORTED, _E.TAKE_BACK): _S.TAKING_BACK,
    (_S.DONE, _E.RESUME): _S.RUNNING,
    (_S.DONE, _E.TAKE_BACK): _S.TAKING_BACK,
    (_S.TAKING_BACK, _E.ENDED): _S.TAKEN_BACK,
    (_S.TAKING_BACK, _E.RESUME): _S.TAKING_BACK,
    (_S.TAKEN_BACK, _E.RESUME): _S.TAKING_BACK,
}

END_STATES = frozenset({_S.HALTED, _S.ABORTED, _S.DONE, _S.TAKEN_BACK})
"""States in which a rollout has ended; another one may begin on its boards."""

GOING_BACK = frozenset({_S.HALTING, _S.HALTED, _S.TAKING_BACK, _S.TAKEN_BACK})
"""States in which boards are not given the release any more, but taken back from it."""


class MemberState(enum.StrEnum):
    """Where a board stands in a rollout."""

    WAITING = "waiting"
    """Not touched yet."""
    ASKED = "asked"
    """Its desired state is signed; how that ended is not known yet."""
    UPDATED = "updated"
    """It confirmed the release."""
    UNCHANGED = "unchanged"
    """It ran the release before."""
    FAILED = "failed"
    """It serves what it served before."""
    GOING_BACK = "going-back"
    """The desired state that takes it back is signed; how that ended is not known yet."""
    BACK = "back"
    """It runs what it ran before."""
    LEFT = "left"
    """A person must look."""


_M = MemberState

STEPS: Mapping[tuple[MemberState, RolloutEvent], MemberState] = {
    (_M.WAITING, _E.ASKED): _M.ASKED,
    (_M.WAITING, _E.UNCHANGED): _M.UNCHANGED,
    (_M.WAITING, _E.FAILED): _M.FAILED,
    (_M.WAITING, _E.UNREACHED): _M.WAITING,
    (_M.ASKED, _E.UPDATED): _M.UPDATED,
    (_M.ASKED, _E.FAILED): _M.FAILED,
    (_M.ASKED, _E.UNREACHED): _M.ASKED,
    (_M.ASKED, _E.ASKED_BACK): _M.GOING_BACK,
    (_M.ASKED, _E.BACK): _M.BACK,
    (_M.ASKED, _E.LEFT): _M.LEFT,
    (_M.UPDATED, _E.ASKED_BACK): _M.GOING_BACK,
    (_M.UPDATED, _E.UNREACHED): _M.UPDATED,
    (_M.UPDATED, _E.BACK): _M.BACK,
    (_M.UPDATED, _E.LEFT): _M.LEFT,
    (_M.GOING_BACK, _E.UNREACHED): _M.GOING_BACK,
    (_M.GOING_BACK, _E.BACK): _M.BACK,
    (_M.GOING_BACK, _E.LEFT): _M.LEFT,
}
"""`unreached` stays where it is: the board is taken up again when the rollout is resumed."""

ASKING: Mapping[RolloutEvent, tuple[RolloutState, ...]] = {
    _E.ASKED: (_S.RUNNING, _S.HOLDING),
    _E.ASKED_BACK: (_S.HALTING, _S.TAKING_BACK),
}
"""In which states a board can be asked for anything; what it came to can be written in every state."""

HAS_RELEASE = frozenset({_M.ASKED, _M.UPDATED, _M.GOING_BACK})
"""A board that may run the release because of this rollout, and is to go back when the release does."""

BOARD_EVENTS = frozenset(event for _, event in STEPS)
