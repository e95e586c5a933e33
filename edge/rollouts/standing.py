"""What a board runs now, as far as it is known here without asking it."""

from __future__ import annotations

from agent.contract.errors import StoreMissing
from edge.rollouts.plan import Member
from edge.rollouts.workspace import Workspace
from edge.telemetry import query
from edge.telemetry.store import Store


def running_now(workspace: Workspace, member: Member) -> str:
    """By its newest signed report; else by what it was asked for last, with a question mark."""
    try:
        with Store.open(workspace.folder.store) as store:
            reported = query.report(store, member.device_id)
    except StoreMissing:
        reported = None
    if reported is not None and reported.current is not None:
        return reported.current.title
    last = workspace.repository.desired(member.device_id)
    return f"{last.generation.title}?" if last is not None else "nothing?"
