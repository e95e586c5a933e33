"""One update of one board: assigned, pushed, waited for. Flash and rollout take this one road.

The rule: the signed word is durable before anybody is told of it, whoever must know is told before anything is sent,
and what came of it is the board's own signed report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.contract.errors import Superseded
from agent.contract.messages import Reported
from agent.contract.release import DesiredState, Generation
from agent.contract.states import UpdateState
from edge.fleet.connection import Board
from edge.fleet.push import push
from edge.fleet.status import BoardStatus, wait_for_end
from edge.progress import Progress
from edge.rollouts.assignment import assign, patience_s
from edge.rollouts.catching_up import go_past
from edge.rollouts.memory import Memory
from edge.rollouts.workspace import Workspace

WORDS = {
    UpdateState.STAGED: "verified on the board by TUF, unpacked",
    UpdateState.CHECKING: "trial: the golden set runs beside what serves",
    UpdateState.PROBATION: "trial passed; serves in probation",
    UpdateState.CONFIRMED: "confirmed",
}
"""What is said when an update gets there."""


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """What a board is asked for, before it is told.

    Attributes:
        desired: signed, durable.
        before: what the board runs, or None where it runs nothing.
    """

    desired: DesiredState
    before: Generation | None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What somebody else has to say in an update.

    Attributes:
        on_assigned: is told what is asked for, before anything is sent.
        go_on: is asked with each sign of life while the board is at work; what it raises ends the waiting.
    """

    on_assigned: Callable[[Assigned], None] = lambda assigned: None
    go_on: Callable[[], None] = lambda: None


NOBODY = Hooks()
"""Nobody else has a say."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an update ended.

    Attributes:
        desired: what was asked for. reported: the board's last report.
        taken: False when the board refused it before anything of it was tried.
        sent_bytes: pushed. push_s, trial_s: how long the push and the rest took.
    """

    desired: DesiredState
    reported: Reported
    taken: bool
    sent_bytes: int
    push_s: float
    trial_s: float

    @property
    def state(self) -> UpdateState:
        """Of the update that was asked for."""
        return self.reported.state if self.taken else UpdateState.REFUSED


def carry_out(
    workspace: Workspace,
    board: Board,
    memory: Memory,
    content: Generation,
    reported: Reported | None,
    *,
    progress: Progress,
    hooks: Hooks = NOBODY,
) -> Ended:
    """Ask a board for `content`, whose number is given here, and wait for the end.

    Args:
        workspace: whose repository signs.
        board: the connection to it.
        memory: of the device, which is enrolled.
        content: what to run.
        reported: its newest report.
        progress: told of each step.
        hooks: of who else must know.

    Raises:
        RootOther, VersionsAbsurd, RepositoryBehind: it has seen what this folder can't go past by itself.
        Superseded: another command asked the board for something else meanwhile.
        TransferError: the connection; the board ends alone what was sent whole.
    """
    hooks.go_on()
    go_past(workspace, memory.device.name, reported, progress)
    desired = assign(workspace, memory.device.device_id, content, reported)
    hooks.on_assigned(Assigned(desired=desired, before=reported.current if reported else None))
    root = memory.device.root
    assert root is not None, "it is enrolled"
    began = time.monotonic()
    push_set = workspace.repository.push_set(memory.device.device_id)
    sent = push(board, root, push_set, request=desired.nonce, progress=progress)
    pushed = time.monotonic()
    resumed = f", {size(sent.resumed_bytes)} of it were there from a cut upload" if sent.resumed_bytes else ""
    progress.step(
        f"{desired.generation.title} pushed: {size(sent.sent_bytes)} in {len(sent.files)} files{resumed}"
    )
    ended = wait_for_end(
        board,
        root,
        memory.device,
        request=desired.nonce,
        deadline_s=patience_s(desired.terms),
        on_change=_Listener(memory, desired.counter, progress).heard,
        on_beat=hooks.go_on,
    )
    memory.keep()
    return Ended(
        desired=desired,
        reported=ended,
        taken=(ended.counter, ended.nonce) == (desired.counter, desired.nonce),
        sent_bytes=sent.sent_bytes,
        push_s=pushed - began,
        trial_s=time.monotonic() - pushed,
    )


class _Listener:
    """Hears a board while it carries an update out, and says each step once."""

    def __init__(self, memory: Memory, counter: int, progress: Progress) -> None:
        self._memory = memory
        self._counter = counter
        self._progress = progress
        self._told: UpdateState | None = None

    def heard(self, reported: Reported, status: BoardStatus) -> None:
        self._memory.saw(status)
        if reported.counter > self._counter:
            self._memory.keep()
            raise Superseded(counter=self._counter, newer=reported.counter)
        looked_at = reported.counter == self._counter
        if looked_at and reported.state in WORDS and reported.state is not self._told:
            self._told = reported.state
            self._progress.step(WORDS[reported.state])


def size(count_bytes: int) -> str:
    """`1.2 MB`, or `3.4 kB`."""
    return f"{count_bytes / 1e6:.1f} MB" if count_bytes >= 1e5 else f"{count_bytes / 1e3:.1f} kB"
