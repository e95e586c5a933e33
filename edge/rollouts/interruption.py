"""Ctrl-C in a rollout: noted, and acted on between two steps, so that no line of a journal is cut.

The rule: the first one is a wish, a second one ends the command where it stands; what is left is settled by `resume`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether somebody wants the command to end."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """For as long as the context lasts, the first signal is noted; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
