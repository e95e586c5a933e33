"""What is on its way to the collector, and when it is sent again. Pure: no clock, no input or output.

The rule: at most `credit` messages are not acknowledged; without progress for `PATIENCE_S` all that follows the first
unacknowledged item is sent again, from there, since a collector takes numbers in their order alone. After a silence one
message asks whether somebody is there, at growing distances, and the first acknowledgement opens the window again.
"""

from __future__ import annotations

from collections import deque

PATIENCE_S = 2.0
LONGEST_PATIENCE_S = 30.0
FIRST_CREDIT, LARGEST_CREDIT = 16, 20
"""Until a collector says it; and what brokers let be unanswered at the least."""


class Window:
    """Places (see `agent.link.outbox`) that were sent and are not acknowledged.

    Attributes:
        sent: up to which place all is on its way; what comes next follows it.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._credit = FIRST_CREDIT
        self._asks = False
        self._on_the_way: deque[int] = deque()
        self._patience_s = PATIENCE_S
        self._progress = 0.0

    @property
    def open(self) -> bool:
        """Whether one more message may be sent."""
        return len(self._on_the_way) < (1 if self._asks else self._credit)

    @property
    def empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._on_the_way

    def send(self, place: int, now: float) -> None:
        """A message that accounts for all up to `place` is on its way."""
        if not self._on_the_way:
            self._progress = now
        self._on_the_way.append(place)
        self.sent = place

    def heard(self, credit: int) -> None:
        """The collector is there, and lets so many messages be unacknowledged; one at the least."""
        self._credit = min(max(credit, 1), LARGEST_CREDIT)
        self._patience_s = PATIENCE_S

    def acknowledge(self, begin: int, end: int, now: float) -> None:
        """Everything from place `begin` to `end` (one boot's) has arrived."""
        self._on_the_way = deque(place for place in self._on_the_way if not begin <= place <= end)
        if begin <= self.sent <= end:
            self.sent = max(self.sent, end)
        self._asks = False
        self._progress = now

    def overdue(self, now: float) -> bool:
        """Whether it is time to send again."""
        return bool(self._on_the_way) and now - self._progress >= self._patience_s

    def again(self, *, asking: bool) -> None:
        """Begin anew with the first unacknowledged item: after a silence (`asking`), or on a new connection."""
        self._on_the_way.clear()
        self.sent = 0
        self._asks = asking
        self._patience_s = min(self._patience_s * 2, LONGEST_PATIENCE_S) if asking else PATIENCE_S
