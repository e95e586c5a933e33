"""How a flash ended, and the exit code that says so.

The rule: what a trial found is a verdict; what kept an update from being tried at all is the error that it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from agent.contract.errors import ExitCode, concrete_errors
from agent.contract.messages import Reported
from agent.contract.states import UpdateState

SETTLED = (UpdateState.CONFIRMED, UpdateState.FINALISED)


@dataclass(frozen=True, kw_only=True)
class FlashOutcome:
    """How it ended.

    Attributes:
        device: its name. title: what the generation is, like `digits@2`.
        changed: False when the board ran it already.
        taken: False when the board refused it before anything of it was tried: its report is about what was before.
        state: how the update ended. reported: the board's signed report.
        pushed_bytes: what was sent. passed_s: seconds by step.
        notes: what the user should know of this board.
    """

    device: str
    title: str
    changed: bool
    state: UpdateState
    reported: Reported
    pushed_bytes: int = 0
    passed_s: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    taken: bool = True

    @property
    def succeeded(self) -> bool:
        """Whether the board runs what was asked for."""
        return self.state in SETTLED

    @property
    def exit_code(self) -> ExitCode:
        """A trial's verdict is a negative one; what prevented the trial has the exit code of its own error."""
        if self.succeeded:
            return ExitCode.DONE
        if self.taken:
            return ExitCode.NEGATIVE_VERDICT
        found = (kind.exit_code for kind in concrete_errors() if kind.code == self.reported.code)
        return next(found, ExitCode.NEGATIVE_VERDICT)
