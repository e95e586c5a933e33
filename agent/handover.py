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


def start_anew(folder: BoardFolder, descriptors: Mapping[str, str]) -> NoReturn:
    """Become the launcher.

    Args:
        folder: the board's.
        descriptors: what `agent.serving.entrances` hands over, by names of the environment.
    """
    command = [sys.executable, "-I", str(folder.launcher), "--root", str(folder.root), "run"]
    os.execve(sys.executable, command, {**os.environ, **descriptors})  # noqa: S606 - the board's own launcher, no shell
