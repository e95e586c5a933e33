"""What another terminal wants of a rollout that a command is at work on: one small file in the rollout's folder.

The rule: only who holds the rollout's lock writes its journal; everybody else asks, and sees in the journal what came
of it. A wish that nobody took is no wish any more when the next command begins.
"""

from __future__ import annotations

import contextlib
import enum
from pathlib import Path

from edge import durable

FILE = "wish"


class Wish(enum.StrEnum):
    """What can be asked for."""

    PAUSE = "pause"
    ABORT = "abort"
    PROMOTE = "promote"
    """Go on to the next wave when the boards of this one have ended, whatever the gate still wants to see."""


def wish(folder: Path, wanted: Wish) -> None:
    """Ask for something."""
    durable.write(folder / FILE, wanted.value.encode())


def is_open(folder: Path) -> bool:
    """Whether a wish was not taken yet."""
    return (folder / FILE).exists()


def take(folder: Path) -> Wish | None:
    """What is asked for now; it is not asked for any more then."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    with contextlib.suppress(ValueError):  # of another version of edge
        return Wish(text)
    return None
