"""A clock that stands still while this machine sleeps.

The rule: what a rollout waits for, it waits for while it is awake; a night with the lid closed, or a stopped process,
is no time that anybody had.
"""

from __future__ import annotations

import threading
import time

LONGEST_S = 5.0
"""More than passes between two looks of a process that is awake."""


class AwakeClock:
    """Counts the seconds between looks, each for `LONGEST_S` at most. Looked at often; any thread may."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._last = time.monotonic()
        self._passed_s = 0.0

    def now_s(self) -> float:
        """Seconds that passed since it was made, sleep not counted."""
        with self._alone:
            now = time.monotonic()
            self._passed_s += min(LONGEST_S, now - self._last)
            self._last = now
            return self._passed_s
