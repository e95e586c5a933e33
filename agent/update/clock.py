"""What time it is, for a board that may have no clock.

The rule: time is the later of the system clock and the latest time that a *signed* document named. The system clock
itself raises no lasting floor: one that jumped ahead once must not refuse good updates for ever. That it stood later
before is not silent, though: `doubt` says so. Expiry stops new updates, never serving.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

DAY_S = 86_400


@dataclass(frozen=True)
class Clock:
    """The board's time in whole seconds since 1970.

    Attributes:
        floor: latest time that a signed document named.
        seen: latest that the system clock ever showed.
        system: the system clock.
    """

    floor: int = 0
    seen: int = 0
    system: Callable[[], float] = time.time

    def now(self) -> int:
        """The time by which expiry is judged."""
        return max(int(self.system()), self.floor)

    def as_datetime(self) -> datetime:
        """The same as python-tuf wants it."""
        return datetime.fromtimestamp(self.now(), tz=timezone.utc)

    def raised(self, signed_time: int) -> Clock:
        """The clock after a verified document that was made at `signed_time`."""
        return Clock(
            floor=max(self.floor, signed_time), seen=max(self.seen, int(self.system())), system=self.system
        )

    def doubt(self) -> str | None:
        """That this clock stood more than a day later before, in words; None when it did not."""
        if self.seen - self.now() < DAY_S:
            return None
        return f"the clock stood at {shown(self.seen)} before; expiry was judged by {shown(self.now())}"


def shown(seconds: int) -> str:
    """`2026-11-23 22:12 UTC`, or the number itself where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds} s"
