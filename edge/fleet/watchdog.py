"""A deadline that holds even where a library waits without one.

The rule: paramiko waits for ever in `exec_command` and in writes to a full socket; so each use of a connection
stands under a watchdog, which ends the connection when the time is over, and all waiting with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Watchdog:
    """Calls `end` once when `seconds` pass without `touch`. A context manager.

    Attributes:
        barked: whether the time was over.
    """

    def __init__(self, seconds: float, end: Callable[[], object]) -> None:
        self.barked = False
        self._seconds = seconds
        self._end = end
        self._last = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="edge-watchdog", daemon=True)

    def touch(self) -> None:
        """Something went on: the time begins anew."""
        self._last = time.monotonic()

    def __enter__(self) -> Watchdog:
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(max(0.01, self._last + self._seconds - time.monotonic())):
            if time.monotonic() >= self._last + self._seconds:
                self.barked = True
                self._end()
                return
