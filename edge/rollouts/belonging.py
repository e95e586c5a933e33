"""Whose a board is, as far as it can be seen from here; the board itself verifies everything again.

The rule: another fleet's board is left alone before anything is sent to it.
"""

from __future__ import annotations

from agent.contract.board import SERVICE_SUPERVISOR
from edge.fleet import services
from edge.fleet.connection import Board
from edge.fleet.status import BoardStatus
from edge.inventory import Device


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
