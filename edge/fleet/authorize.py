"""A board that has only a password gets the fleet folder's key, once; from then on no password is needed."""

from __future__ import annotations

from edge.config import FleetFolder
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.identity import KeyRing


def authorize(board: Board, fleet: FleetFolder) -> bool:
    """Put the fleet folder's public SSH key (made now if there is none) into the user's `authorized_keys`.

    Returns:
        Whether it was added; False when it was there already.

    Raises:
        RemoteCommandFailed: the file can't be written.
    """
    key_file = KeyRing(fleet.keys).ssh_key_path()
    public = key_file.with_name(f"{key_file.name}.pub").read_text()
    answer = board.python(script("authorize"), {"key": public}, doing="installing the fleet folder's key")
    return bool(answer["added"])
