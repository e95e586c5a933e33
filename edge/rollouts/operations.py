"""What a command does with a rollout: begin, go on, take back, or ask whoever is at work on it.

The rule: one command is at work on a rollout; every other one asks it, or, where there is none, writes the journal
itself.
"""

from __future__ import annotations

import time
from pathlib import Path

from agent.contract.errors import (
    DocumentInvalid,
    ExitCode,
    PassphraseMissing,
    RolloutBusy,
    RolloutEnded,
    RolloutOpen,
)
from edge.collector import client
from edge.progress import Progress
from edge.rollouts import wishes
from edge.rollouts.engine import Engine, Pace
from edge.rollouts.fold import Rollout
from edge.rollouts.folders import RolloutFolders
from edge.rollouts.journal import Journal, Listener, is_held, read
from edge.rollouts.plan import Plan
from edge.rollouts.readiness import make_ready
from edge.rollouts.road import Road
from edge.rollouts.state import GOING_BACK, TRANSITIONS, RolloutEvent, RolloutState
from edge.rollouts.watch import Watch
from edge.rollouts.wishes import Wish
from edge.rollouts.workspace import Workspace

GATE_PERIOD_S = 1.0
TAKEN_S = 15.0
"""How long a wish may wait for the command that it is for."""
POLL_S = 0.1
EVENTS = {Wish.PAUSE: RolloutEvent.PAUSE, Wish.ABORT: RolloutEvent.ABORT}


def start(workspace: Workspace, plan: Plan, progress: Progress, listener: Listener) -> ExitCode:
    """Begin a rollout and work on it until it has ended, or somebody stops it.

    Raises:
        RolloutOpen: a board of it is in one that has not ended.
        PlanInvalid, CollectorFailed: before anything was begun.
    """
    make_ready(workspace, plan, progress)
    client.ensure(workspace.folder)
    with RolloutFolders(workspace.folder).begin(plan) as journal:
        return _work(workspace, journal, listener)


def resume(workspace: Workspace, folder: Path, listener: Listener, *, promoted: bool = False) -> ExitCode:
    """Go on where a rollout stands; boards that could not be reached are taken up again.

    Args:
        workspace: the fleet folder.
        folder: of the rollout.
        listener: is told of each entry.
        promoted: whatever the gate still wants to see of the wave at work.

    Raises:
        RolloutBusy: another command is at work on it.
        RolloutEnded: there is nothing left to do.
    """
    with Journal.open(folder) as journal:
        rollout = journal.rollout
        nothing_left = not (rollout.is_open or rollout.unreached or rollout.outstanding)
        if rollout.state is RolloutState.ABORTED or nothing_left:
            raise RolloutEnded(rollout=folder.name, state=rollout.state.value)
        journal.listen(listener)
        if rollout.state is not RolloutState.PLANNED:
            journal.append(RolloutEvent.RESUME)
        return _work(workspace, journal, listener, promoted=promoted)


def take_back(workspace: Workspace, folder: Path, listener: Listener) -> ExitCode:
    """Give all boards that took the release what they ran before.

    Raises:
        RolloutBusy: another command is at work on it.
        RolloutOpen: it has not ended, nor is it paused.
    """
    with Journal.open(folder) as journal:
        state = journal.rollout.state
        journal.listen(listener)
        if (state, RolloutEvent.TAKE_BACK) in TRANSITIONS:
            journal.append(RolloutEvent.TAKE_BACK)
        elif state in (RolloutState.TAKING_BACK, RolloutState.TAKEN_BACK):
            journal.append(RolloutEvent.RESUME)
        else:
            raise RolloutOpen(rollout=folder.name, state=state.value)
        return _work(workspace, journal, listener)


def ask(folder: Path, wanted: Wish) -> Rollout:
    """Pause or abort a rollout: by asking the command at work on it, or by writing the journal where there is none.

    Returns:
        The state after it.

    Raises:
        RolloutEnded: it has ended, or can't be paused any more.
        RolloutBusy: whoever holds it did not take it in `TAKEN_S` seconds.
    """
    deadline = time.monotonic() + TAKEN_S
    _, rollout = read(folder)
    if _is_ending(rollout):
        raise RolloutEnded(rollout=folder.name, state=rollout.state.value)
    while is_held(folder):
        _, rollout = read(folder)
        if _is_done(rollout, wanted):
            return rollout
        if _is_ending(rollout):  # the gate was quicker
            raise RolloutEnded(rollout=folder.name, state=rollout.state.value)
        if time.monotonic() > deadline:
            raise RolloutBusy(rollout=folder.name)
        if not wishes.is_open(folder):
            wishes.wish(folder, wanted)
        time.sleep(POLL_S)
    return _written(folder, wanted)


def promote(workspace: Workspace, folder: Path, listener: Listener) -> ExitCode | None:
    """Go on to the next wave whatever the gate still wants to see; None where another command is at work and does it.

    Raises:
        RolloutEnded: there is nothing left to do.
        RolloutBusy: whoever holds it did not take it in `TAKEN_S` seconds.
    """
    if not is_held(folder):
        return resume(workspace, folder, listener, promoted=True)
    _, rollout = read(folder)
    if _is_ending(rollout):
        raise RolloutEnded(rollout=folder.name, state=rollout.state.value)
    _wait_until_taken(folder, Wish.PROMOTE)
    return None


def _wait_until_taken(folder: Path, wanted: Wish) -> None:
    wishes.wish(folder, wanted)
    deadline = time.monotonic() + TAKEN_S
    while wishes.is_open(folder) and is_held(folder):
        if time.monotonic() > deadline:
            raise RolloutBusy(rollout=folder.name)
        time.sleep(POLL_S)


def _written(folder: Path, wanted: Wish) -> Rollout:
    with Journal.open(folder) as journal:
        wishes.take(folder)
        if _is_done(journal.rollout, wanted):
            return journal.rollout
        try:
            return journal.append(EVENTS[wanted])
        except DocumentInvalid as error:
            raise RolloutEnded(rollout=folder.name, state=journal.rollout.state.value) from error


def _is_ending(rollout: Rollout) -> bool:
    return not rollout.is_open or rollout.state in GOING_BACK


def _is_done(rollout: Rollout, wanted: Wish) -> bool:
    wished = {Wish.PAUSE: RolloutState.PAUSED, Wish.ABORT: RolloutState.ABORTED}
    return wished.get(wanted) is rollout.state


def _work(workspace: Workspace, journal: Journal, listener: Listener, *, promoted: bool = False) -> ExitCode:
    journal.listen(listener)
    release = workspace.repository.release(journal.rollout.plan.release)
    config = workspace.folder.config
    alone = Workspace(workspace.folder, _nobody_there)
    watch = Watch(workspace.folder)
    try:
        pace = Pace(pool=config.pool, period_s=min(GATE_PERIOD_S, config.interval_s))
        return Engine(journal, Road(alone, release), watch, pace).run(promoted=promoted)
    finally:
        watch.close()


def _nobody_there(role: str) -> str:
    """A rollout asks nobody for a passphrase: what needs one was made before it began."""
    raise PassphraseMissing(role=role)
