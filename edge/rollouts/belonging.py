"""Whose a board is, as far as it can be seen from here; the board itself verifies everything again.

The rule: another fleet's board is left alone before anything is sent to it.
"""

from __future__ import annotations

from agent.contract.board import SERVICE_SUPERVISOR
from agent.contract.errors import BoardForeign, RootOther
from edge.fleet import services
from edge.fleet.connection import Board
from edge.fleet.status import BoardStatus
from edge.inventory import Device
from edge.rollouts.workspace import Workspace


def is_ours(status: BoardStatus, device: Device, *, fleet: str) -> bool:
    """Whether this board is the device of the inventory."""
    config = status.config
    return (
        config is not None
        and device.enrolled
        and config.fleet == fleet
        and config.device == device.device_id
        and config.serial == (device.facts.serial if device.facts else config.serial)
    )


def refuse_foreign(workspace: Workspace, name: str, status: BoardStatus) -> None:
    """Leave a board alone that another fleet has, or that was enrolled with a root of trust which this folder's
    repository does not hold.

    Raises:
        BoardForeign, RootOther: it is such a one.
    """
    config = status.config
    if config is None:
        return
    if config.fleet != workspace.folder.config.fleet:
        raise BoardForeign(host=name, fleet=config.fleet)
    if status.root is not None and not workspace.versions.knows_root(status.root):
        raise RootOther(device=name, reason="the root that it was enrolled with is not in this repository")


def wake(board: Board, device: Device, status: BoardStatus) -> bool:
    """Start what looks at pushes on a board of ours, where nothing on it does after it booted.

    Returns:
        Whether that was needed.
    """
    config, root = status.config, device.root
    if config is None or root is None or config.service != SERVICE_SUPERVISOR:
        return False
    if status.supervised or not status.installed:
        return False
    services.wake(board, root)
    return True
