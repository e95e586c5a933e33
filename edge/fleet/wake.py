"""Noticing that this machine slept, or that this process stood still.

The rule: what was waited for meanwhile is not late but unknown, so that it is asked for anew instead of given up.
"""

from __future__ import annotations

import time

MORE_S = 5.0
"""A pause that took so much longer than planned was none of ours."""


class Wake:
    """Looks at the clock between pauses."""

    def __init__(self) -> None:
        self._last = time.time()

    def slept(self, planned_s: float) -> bool:
        """Whether much more time has passed since the last call than the pause of `planned_s` in between explains."""
        now = (
            time.time()
        )  # the clock on the wall goes on while the machine sleeps, the monotonic one does not
        passed, self._last = now - self._last, now
        return passed > planned_s + MORE_S
