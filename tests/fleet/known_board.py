"""A fleet folder that knows a board by its host key, without having flashed it."""

from __future__ import annotations

from edge.config import FleetFolder
from edge.inventory import Device
from edge.rollouts.workspace import Workspace
from tests.beds.board import BedBoard
from tests.fleet.conftest import shown_key


def workspace_with(fleet: FleetFolder, board: BedBoard, *, name: str, device_id: str) -> Workspace:
    """The folder's commands, with a board of that name and id whose key is the one that it shows."""
    made = Workspace(fleet, lambda role: "")
    key = shown_key(board)
    made.inventory.add(
        Device(
            name=name,
            device_id=device_id,
            host=board.host,
            port=board.port,
            user=board.user,
            host_key=key.text,
            fingerprint=key.fingerprint,
            root="~/.edge",
        )
    )
    return made
