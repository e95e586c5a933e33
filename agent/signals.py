"""Signals: the main thread's matter.

The rule: a thread that takes none leaves them all to the event loop, so that none is lost when the process ends or
starts anew.
"""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends the agent or has it follow."""


def leave_signals() -> None:
    """In a thread, first of all: take none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
