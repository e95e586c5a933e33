"""What time it is, for a board that may have no clock, or a wrong one.

The rules:

* Time is the later of the system clock and the *floor*: the latest time that a verified desired state named. A board
  that starts in 1970 judges expiry by the floor.
* The system clock itself raises no floor: one that jumped ahead once (a wrong time server, a flat battery) must not
  refuse good updates for ever. That it stood later before is not silent, though: `doubt` says so.
* A signed time may be wrong as well: the laptop's clock stood ahead, or a key was stolen. It is taken only when it lies
  before the end of every signature that leads to it, `targets` and root among them, whose keys are not on every desk.
  What was taken holds under the root that it came with: another root, which only a person with the root key can sign,
  lets go of it (`under`). So whoever has the keys gets each board back, and nobody else can lower the floor.
* Expiry stops new updates, never serving.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from agent.contract.wording import DAY_S, LAST_SECOND, shown


@dataclass(frozen=True)
class Clock:
    """The board's time in whole seconds since 1970.

    Attributes:
        floor: latest time that a signed document named. root: which root it came under.
        seen: latest that the system clock ever showed.
        system: the system clock.
    """

    floor: int = 0
    root: str = ""
    seen: int = 0
    system: Callable[[], float] = time.time

    def now(self) -> int:
        """The time by which expiry is judged."""
        return min(max(int(self.system()), self.floor, 0), LAST_SECOND - 1)

    def as_datetime(self) -> datetime:
        """The same as python-tuf wants it."""
        return datetime.fromtimestamp(self.now(), tz=timezone.utc)

    def under(self, root: str) -> Clock:
        """The clock when `root` is the verified one: another than before lets go of the floor."""
        return self if root == self.root else replace(self, floor=0, root=root)

    def raised(self, signed_time: int) -> Clock:
        """The clock after a verified document that was made at `signed_time`."""
        return replace(self, floor=max(self.floor, signed_time), seen=max(self.seen, int(self.system())))

    def doubt(self) -> str | None:
        """Why expiry may be judged by a wrong time, in words; None when nothing says so. A day is no doubt."""
        system = int(self.system())
        if self.floor - system >= DAY_S:
            return (
                f"the system clock stands at {shown(system)}, and an update was signed at {shown(self.floor)}; "
                f"expiry is judged by {shown(self.now())}"
            )
        if self.seen - self.now() >= DAY_S:
            return f"the clock stood at {shown(self.seen)} before; expiry is judged by {shown(self.now())}"
        return None
