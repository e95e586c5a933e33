"""A board that has only a password gets the fleet folder's key, once; from then on no password is needed."""

from __future__ import annotations

from edge.config import FleetFolder
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.identity import SshKey


def authorize(board: Board, fleet: FleetFolder) -> bool:
    """Put the fleet folder's public SSH key (made now if there is none) into the user's `authorized_keys`.

    Returns:
        Whether it was added; False when it was there already.

    Raises:
        RemoteCommandFailed: the file can't be written.
    """
    key = SshKey(fleet.keys)
    public = key.public_line(key.current)
    answer = board.python(script("authorize"), {"key": public}, doing="installing the fleet folder's key")
    return bool(answer["added"])


def withdraw(board: Board, public: str) -> bool:
    """Take a public key, a line of `authorized_keys`, away from the user.

    Returns:
        Whether it was there.

    Raises:
        RemoteCommandFailed: the file can't be written.
    """
    answer = board.python(script("withdraw"), {"key": public}, doing="removing the fleet folder's former key")
    return bool(answer["removed"])
