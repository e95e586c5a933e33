"""When a sample was measured, by this machine's clock: pure decisions.

The rule: a board's clock is not believed unless it says itself that it is right. Its monotonic seconds are: a message
can't arrive before it was sent, so the least of (arrival - sending) is where the monotonic zero of a board's start
lies, late by the shortest way that a message took. It is the least of the last 10 to 20 minutes, since crystals drift
by seconds a day, and since this machine's clock may be put right too.
"""

from __future__ import annotations

from typing import NamedTuple

FUTURE_S = 5.0
"""A board's clock that is ahead of this machine's by more is wrong, whatever it says."""
PERIOD_S = 600.0


class Offset(NamedTuple):
    """Where a boot's monotonic zero lies by this machine's clock, seconds since 1970.

    Attributes:
        least: of the period that began at the board's monotonic second `since`. before: of the period before it.
    """

    least: float
    before: float
    since: float

    @property
    def zero(self) -> float:
        """The estimate."""
        return min(self.least, self.before)


def follow(offset: Offset | None, *, rx: float, sent_monotonic: float | None) -> Offset | None:
    """The estimate after a message that came at `rx`; None while no message told."""
    if sent_monotonic is None:
        return offset
    found = rx - sent_monotonic
    if offset is None:
        return Offset(found, found, sent_monotonic)
    if sent_monotonic >= offset.since + PERIOD_S:
        return Offset(found, offset.least, sent_monotonic)
    return offset if found >= offset.least else offset._replace(least=found)


def measured_at(
    *, monotonic: float, wall: float, rx: float, offset: Offset | None, clock_synchronised: bool
) -> float:
    """When a sample or an event was, seconds since 1970 by this machine's clock.

    Args:
        monotonic: seconds since the board started.
        wall: by the board's clock.
        rx: when its message came.
        offset: of its boot.
        clock_synchronised: the board says that its wall clock is right.
    """
    if offset is not None:
        return monotonic + offset.zero
    if clock_synchronised and wall <= rx + FUTURE_S:
        return wall
    return rx
