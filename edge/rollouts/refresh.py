"""Boards are shown what is newly signed, and nothing else: that ends their being stale.

The rule: it is an ordinary push of what the board carried out already, with metadata that were signed for it: the
board's update process verifies all of it, finds nothing to do, and says so under its own signature. What a board has
not carried out yet is no refresh: that needs a flash, or the rollout that asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.contract.errors import BoardNotFlashed, EdgeError, RefreshRefused, UpdateWaits
from agent.contract.messages import Reported
from edge.fleet.connection import connect
from edge.fleet.push import push
from edge.fleet.status import read_status, wait_for_end
from edge.repository import new_nonce
from edge.rollouts.assignment import has_ended
from edge.rollouts.belonging import wake
from edge.rollouts.memory import Memory
from edge.rollouts.workspace import Workspace

LOOK_S = 120.0
"""How long a board may take to look at what it was sent; nothing is tried."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What came of one board.

    Attributes:
        device: its name. reported: after it looked; None where it did not.
        problem: why it was not refreshed, or None.
    """

    device: str
    reported: Reported | None = None
    problem: EdgeError | None = None


def refresh(workspace: Workspace, names: Sequence[str]) -> tuple[Refreshed, ...]:
    """Sign snapshot and timestamp anew, and show them to the boards with these names, `pool` at once.

    Raises:
        DeviceUnknown: a name is not in the inventory; nothing was done.
        RepositoryMissing, FleetFolderBusy: nothing could be signed.
    """
    for name in names:
        workspace.inventory.get(name)
    workspace.repository.refresh(force=True)
    with ThreadPoolExecutor(max_workers=workspace.folder.config.pool) as pool:
        return tuple(pool.map(lambda name: _refreshed(workspace, name), names))


def _refreshed(workspace: Workspace, name: str) -> Refreshed:
    try:
        return Refreshed(device=name, reported=_show(workspace, name))
    except EdgeError as error:
        return Refreshed(device=name, problem=error)


def _show(workspace: Workspace, name: str) -> Reported:
    device = workspace.inventory.get(name)
    if device.root is None:
        raise BoardNotFlashed(device=name)
    with workspace.inventory.hold(name), connect(device, fleet=workspace.folder) as board:
        memory = Memory(workspace, device)
        status = read_status(board, device.root)
        before = memory.believed(status)
        desired = workspace.repository.desired(device.device_id)
        if before is None or desired is None:
            raise BoardNotFlashed(device=name)
        waits = desired.counter > before.counter and not has_ended(desired, before)
        if waits or before.in_progress:
            raise UpdateWaits(device=name, counter=desired.counter)
        wake(board, device, status)
        request = new_nonce()
        news = workspace.repository.push_set(device.device_id, signed_alone=True)
        push(board, device.root, news, request=request)
        after = wait_for_end(
            board,
            device.root,
            memory.device,
            request=request,
            deadline_s=LOOK_S,
            on_change=lambda _, status: memory.saw(status),
        )
        memory.keep()
    if _timestamp(after) <= _timestamp(before):
        raise RefreshRefused(device=name, code=after.code, reason=after.message)
    return after


def _timestamp(reported: Reported) -> int:
    return next((role.version for role in reported.trust if role.role == "timestamp"), 0)
