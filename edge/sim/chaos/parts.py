"""What a run breaks, and how a process is ended without a word.

The rule: a part is what a user has, started as a user's is. A part that is killed gets no word first, and no process
but those that a run started is ever sent a signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Protocol


class Part(Protocol):
    """What can be killed and stalled. All of it may block, and is called from threads."""

    def start(self) -> None:
        """Start it as a user would."""

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""

    def stall(self) -> None:
        """SIGSTOP."""

    def go_on(self) -> None:
        """SIGCONT."""


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process, if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def ended(pid: int) -> bool:
    """Whether a child of this process has."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def kill_and_wait(pid: int) -> None:
    """SIGKILL to a child of this process, and wait until it is gone."""
    send(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def last_words(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "without a word"
