"""What a board is, asked of the board itself in one round trip."""

from __future__ import annotations

from agent.contract.board import USER_ROOT
from agent.contract.codec import from_plain
from agent.contract.errors import PlatformUnsupported
from agent.contract.profile import BoardFacts
from edge.fleet.connection import Board
from edge.fleet.onboard import script


def probe(board: Board) -> BoardFacts:
    """The board's facts. Nothing is changed on it.

    A board that can't be used (32-bit, old Python) still tells what it is: `agent.contract.profile.accepts` says why
    not, and what would help.

    Raises:
        PlatformUnsupported: it has no Python 3.
        RemoteCommandFailed, DeadlinePassed, ConnectionLost: the question failed.
    """
    try:
        found = board.python(script("probe"), {"root": USER_ROOT}, doing="asking what it is")
    except PlatformUnsupported as error:
        system = board.run(["uname", "-sm"]).stdout.decode(errors="replace").strip()
        raise PlatformUnsupported(
            platform=f"`{board.name}` ({system or 'unknown system'})",
            reason="it has no python3, and the agent is written in Python",
            way_out="install Python on it, on Debian and Raspberry Pi OS with `sudo apt install python3`",
        ) from error
    return from_plain(BoardFacts, found)
