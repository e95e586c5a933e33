"""What this machine can hold, asked before memory is taken."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from agent.contract.errors import DataUnreadable

COPIES = 2
"""Of the data in memory at once: as read, and as an engine takes them."""
_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_bytes() -> int:
    """Memory that can be taken now; where the system does not say (macOS), all that there is."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):  # "max": a container without a limit
        free = min(free, int(_LIMIT.read_text()))
    return free


def check_fits(path: object, needed_bytes: int, what: str) -> None:
    """Refuse data that would not fit.

    Args:
        path: for the sentence of an error.
        needed_bytes: of the data, once.
        what: what takes them, like `its 50,000 samples`.

    Raises:
        DataUnreadable: with the numbers.
    """
    free = available_bytes()
    if needed_bytes * COPIES > free:
        reason = (
            f"{what} take {needed_bytes:,} bytes, {COPIES} times at once, and this machine has {free:,} free;"
            " give fewer samples"
        )
        raise DataUnreadable(path=path, reason=reason)
