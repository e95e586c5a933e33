"""Deadlines of the update process's own steps: none of them takes longer than it said before it began.

The rule: whatever a step hangs in, the kernel ends the process when its time is over (SIGALRM, which nothing here
catches); where even that fails, whoever keeps the process running ends it a little later. The next run settles what
was left, as after any other kill. An attempt was counted before it began, so attempts end, too.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from agent.system import tell_systemd

SETTLE_S = 100.0
"""To settle what an earlier run left, while the agent waits to be started."""
LOOK_S = 300.0
"""To verify what is in the inbox, and to read all manifests that it leads to."""
STAGE_S = 300.0
STAGE_BYTES_A_S = 250_000
"""To unpack and to hash: so long, and for slow storage one second more for so many bytes."""
RECLAIM_S = 300.0
BETWEEN_S = 300.0
"""For what stands between steps: to save the record, to report."""
SPARE_S = 60.0
"""Granted to a step that has a deadline of its own, to come to its end by itself."""
OUTER_SPARE_S = 30.0
"""How much later than the kernel whoever keeps the process running ends it."""

Within = Callable[[float], AbstractContextManager[None]]


def unbounded(_seconds: float) -> AbstractContextManager[None]:
    """No deadline: for a process that is not the update's own."""
    return nullcontext()


@contextmanager
def deadlines() -> Iterator[Within]:
    """Give this process deadlines from here on; what is yielded bounds one step by its seconds."""
    before_s, _ = signal.setitimer(signal.ITIMER_REAL, BETWEEN_S)
    begun = time.monotonic()
    end: float | None = None

    def until(moment: float | None) -> None:
        nonlocal end
        end = moment
        left_s = BETWEEN_S if moment is None else max(moment - time.monotonic(), 0.001)
        signal.setitimer(signal.ITIMER_REAL, left_s)
        tell_systemd(f"EXTEND_TIMEOUT_USEC={round((left_s + OUTER_SPARE_S) * 1e6)}")

    @contextmanager
    def within(seconds: float) -> Iterator[None]:
        outer = end
        moment = time.monotonic() + seconds
        until(moment if outer is None else min(moment, outer))
        try:
            yield
        finally:
            until(outer)

    try:
        until(None)
        yield within
    finally:
        left_s = before_s and max(before_s - (time.monotonic() - begun), 0.001)
        signal.setitimer(signal.ITIMER_REAL, left_s)
