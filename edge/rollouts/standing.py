"""What a board runs now, as far as it is known here without asking it."""

from __future__ import annotations

import time

from agent.contract.errors import StoreMissing
from agent.contract.messages import Reported
from edge.rollouts.plan import Member
from edge.rollouts.workspace import Workspace
from edge.telemetry import query
from edge.telemetry.store import Store


def running_now(workspace: Workspace, member: Member) -> str:
    """By its newest signed report; else by what it was asked for last, with a question mark."""
    reported = newest_report(workspace, member.device_id)
    if reported is not None and reported.current is not None:
        return reported.current.title
    last = workspace.repository.desired(member.device_id)
    return f"{last.generation.title}?" if last is not None else "nothing?"


def newest_report(workspace: Workspace, device_id: str) -> Reported | None:
    """A board's newest verified report that the store has, or None."""
    try:
        with Store.open(workspace.folder.store) as store:
            return query.report(store, device_id)
    except StoreMissing:
        return None


def stale_boards(workspace: Workspace) -> frozenset[str]:
    """Names of boards whose newest stored report says that they had no contact for too long."""
    try:
        with Store.open(workspace.folder.store) as store:
            reports = {one.name: query.report(store, one.device_id) for one in workspace.inventory.list()}
    except StoreMissing:
        return frozenset()
    now = int(time.time())
    return frozenset(name for name, reported in reports.items() if reported and reported.stale(now))
