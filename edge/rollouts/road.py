"""The way to one board of a rollout: give it the release, or take it back from it.

The rule: what a cut left open is settled by the board's signed report before anything new is asked of it, and what
was asked for is asked for again as it was; so no board is activated twice. What somebody else asked of a board since
is never undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.contract.errors import (
    BoardNotFlashed,
    DeviceUnknown,
    EdgeError,
    NoPrevious,
    Superseded,
)
from agent.contract.messages import Reported
from agent.contract.release import Generation, Release
from edge.fleet.connection import Board, connect
from edge.fleet.status import read_status
from edge.progress import Silent
from edge.rollouts.assignment import runs_already
from edge.rollouts.belonging import is_ours, refuse_foreign, wake
from edge.rollouts.entries import Asked, Reason
from edge.rollouts.fold import MemberNow
from edge.rollouts.memory import Memory
from edge.rollouts.plan import Member
from edge.rollouts.preparation import generation_with
from edge.rollouts.settling import Ending, ending
from edge.rollouts.state import RolloutEvent
from edge.rollouts.update import Ended, Hooks, carry_out
from edge.rollouts.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is to be written of a board, and why."""

    event: RolloutEvent
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """An open connection to a board of ours, and its believed report."""

    board: Board
    memory: Memory
    reported: Reported | None


class Road:
    """Reaches the boards of one rollout. Used by many threads, each with another board."""

    def __init__(self, workspace: Workspace, release: Release) -> None:
        self._workspace = workspace
        self._release = release

    def bring(self, member: Member, now: MemberNow, hooks: Hooks) -> Outcome:
        """Give a board the release, or find out how that ended.

        Raises:
            EdgeError: it can't be reached, or nothing can be asked of it.
        """
        asked = now.asked
        with self._visit(member) as visit:
            if asked is None:
                content = self._content(visit, member)
                device_id = visit.memory.device.device_id
                if visit.reported and runs_already(self._workspace, device_id, visit.reported, content):
                    return Outcome(event=RolloutEvent.UNCHANGED)
            else:
                if found := ending(visit.reported, asked):
                    return _outcome(found, RolloutEvent.UPDATED, RolloutEvent.FAILED)
                self._refuse_superseded(member, asked)
                content = asked.content
            ended = self._carry_out(visit, content, hooks)
            return _outcome(_ending(ended), RolloutEvent.UPDATED, RolloutEvent.FAILED)

    def take_back(self, member: Member, now: MemberNow, hooks: Hooks) -> Outcome:
        """Give a board again what it ran before it was asked for the release, or find out how that ended.

        Raises:
            EdgeError: it can't be reached, or nothing can be asked of it.
        """
        asked, asked_back = now.asked, now.asked_back
        assert asked is not None, "only a board that was asked goes back"
        with self._visit(member) as visit:
            if asked_back and (found := ending(visit.reported, asked_back)):
                return _outcome(found, RolloutEvent.BACK, RolloutEvent.LEFT)
            if asked.before is None:
                raise NoPrevious(device=member.device)
            last = self._workspace.repository.desired(member.device_id)
            ours = (
                asked.before,
                asked.content,
            )  # of this rollout, or given again by one that was halted since
            if last is None or not any(last.generation.same_content(one) for one in ours):
                raise Superseded(counter=asked.counter, newer=last.counter if last else 0)
            if _went_back_alone(visit.reported, asked):
                return Outcome(event=RolloutEvent.BACK)
            ended = self._carry_out(visit, asked.before, hooks)
            return _outcome(_ending(ended), RolloutEvent.BACK, RolloutEvent.LEFT)

    @contextmanager
    def _visit(self, member: Member) -> Iterator[Visit]:
        """Be alone at work on a board of ours, connected, its report read and believed."""
        inventory = self._workspace.inventory
        device = inventory.get(member.device)
        if device.device_id != member.device_id:
            raise DeviceUnknown(device=f"{member.device} ({member.device_id})", suggestion="")
        if device.root is None:
            raise BoardNotFlashed(device=device.name)
        with inventory.hold(device.name), connect(device, fleet=self._workspace.folder) as board:
            status = read_status(board, device.root)
            refuse_foreign(self._workspace, device.name, status)
            fleet = self._workspace.folder.config.fleet
            if not (status.installed and is_ours(status, device, fleet=fleet)):
                raise BoardNotFlashed(device=device.name)
            memory = Memory(self._workspace, device)
            reported = memory.believed(status)
            memory.keep()
            wake(board, device, status)
            yield Visit(board=board, memory=memory, reported=reported)

    def _content(self, visit: Visit, member: Member) -> Generation:
        device = visit.memory.device
        assert device.facts is not None, "a member was probed"
        return generation_with(
            self._workspace,
            self._release,
            self._workspace.profile(member.profile),
            device.facts,
            visit.reported.current if visit.reported else None,
            device=device.name,
        )

    def _carry_out(self, visit: Visit, content: Generation, hooks: Hooks) -> Ended:
        return carry_out(
            self._workspace,
            visit.board,
            visit.memory,
            content,
            visit.reported,
            progress=Transfers(hooks),
            hooks=hooks,
        )

    def _refuse_superseded(self, member: Member, asked: Asked) -> None:
        """Leave a board alone of which somebody else has asked something since."""
        last = self._workspace.repository.desired(member.device_id)
        if last is None or last.counter != asked.counter:
            raise Superseded(counter=asked.counter, newer=last.counter if last else 0)


class Transfers(Silent):
    """A progress that says nothing, since the journal tells what happens; each transfer asks whether to go on."""

    def __init__(self, hooks: Hooks) -> None:
        self._go_on = hooks.go_on

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Ask whether to go on."""
        self._go_on()


def reason_of(error: EdgeError) -> Reason:
    """An error as the journal keeps it."""
    return Reason(code=error.code, message=str(error))


def _went_back_alone(reported: Reported | None, asked: Asked) -> bool:
    """Whether the board has let go of the release by itself and serves what it served before."""
    found = ending(reported, asked)
    current = reported.current if reported else None
    if found is None or found.well or current is None or asked.before is None:
        return False
    return current.same_content(asked.before)


def _ending(ended: Ended) -> Ending:
    report = ended.reported
    reason = Reason(code=report.code, message=report.message or "") if report.code else None
    return Ending(state=ended.state, reason=reason)


def _outcome(found: Ending, well: RolloutEvent, badly: RolloutEvent) -> Outcome:
    if found.well:
        return Outcome(event=well)
    return Outcome(event=badly, reason=found.reason or Reason(code="", message=found.state.value))
