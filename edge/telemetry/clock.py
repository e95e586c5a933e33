"""When a sample was measured, by this machine's clock: a pure decision.

The rule: a board's clock is not believed unless it says itself that it is right. Its monotonic seconds are: a message
can't arrive before it was sent, so the least of (arrival - sending) over a boot is where that boot's zero lies, late by
the shortest way that a message of it took.
"""

from __future__ import annotations

FUTURE_S = 5.0
"""A board's clock that is ahead of this machine's by more is wrong, whatever it says."""


def offset(before: float | None, *, rx: float, sent_monotonic: float | None) -> float | None:
    """This machine's time at a boot's monotonic zero, after a message; None while no message told."""
    if sent_monotonic is None:
        return before
    found = rx - sent_monotonic
    return found if before is None or found < before else before


def measured_at(
    *, monotonic: float, wall: float, rx: float, offset: float | None, clock_synchronised: bool
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
        return monotonic + offset
    if clock_synchronised and wall <= rx + FUTURE_S:
        return wall
    return rx
