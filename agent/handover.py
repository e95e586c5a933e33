"""To start anew: this process becomes the launcher, which finds what is to be served now.

The rule: a process that starts anew gives its own descriptors to the one that it becomes, and their numbers in its
environment; so clients wait a moment, and nobody is refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from agent.config import BoardFolder

GAP = "EDGE_SWAP_GAP"


def start_anew(folder: BoardFolder, descriptors: Mapping[str, str], *, reason: str) -> NoReturn:
    """Become the launcher.

    Args:
        folder: the board's.
        descriptors: what `agent.serving.entrances` hands over, by names of the environment.
        reason: why that is needed; the next process says it.
    """
    command = [sys.executable, "-I", str(folder.launcher), "--root", str(folder.root), "run"]
    os.execve(sys.executable, command, {**os.environ, **descriptors, GAP: reason})  # noqa: S606 - the board's own launcher, no shell


def reason_of_gap() -> str | None:
    """Why the process before this one started anew; None where this is no swap."""
    return os.environ.pop(GAP, None)
