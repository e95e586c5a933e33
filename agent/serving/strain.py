"""What the board can bear now, and what a model's queue is to make of it.

The rule: pure. A board whose firmware slows it down gets rests between runs; one that is too hot runs one request at a
time with as much rest, and lets none wait: who is told so at once can go elsewhere. Where memory is short there are no
batches, and little waits. Quick models stay on the event loop unless it is too hot: their runs heat nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

UNDER_VOLTAGE, FREQUENCY_CAPPED, THROTTLED, SOFT_LIMIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3
"""The Raspberry Pi firmware's flags for what is so now."""
SHORT_PART = 0.05
"""Of the board's memory: less than that available is short."""
COOLER_C = 3.0
"""A board that was too hot must have cooled by so much to be so no more."""


@dataclass(frozen=True)
class Strain:
    """What the board suffers from.

    Attributes:
        hot: it must not get hotter. slowed: its firmware slows it down. short: of memory.
    """

    hot: bool = False
    slowed: bool = False
    short: bool = False

    @property
    def condition(self) -> str:
        """In words, as after "the board"; empty when it is well."""
        words = (
            ("is too hot", self.hot),
            ("is slowed down by its firmware", self.slowed),
            ("is short of memory", self.short),
        )
        return " and ".join(word for word, so in words if so)


@dataclass(frozen=True)
class Ease:
    """How a model's queue takes part of the strain off the board.

    Attributes:
        lanes: threads that may run it at once, None for all. joins: requests may run together.
        waiting: part of its bounds that may be used, 0 to 1.
        rest: seconds of rest after each second of a run.
        inline: quick requests may run on the event loop.
    """

    lanes: int | None = None
    joins: bool = True
    waiting: float = 1.0
    rest: float = 0.0
    inline: bool = True


def ease(strain: Strain) -> Ease:
    """What is to be done about it."""
    if strain.hot:
        return Ease(lanes=1, joins=not strain.short, waiting=0.0, rest=1.0, inline=False)
    return Ease(
        lanes=1 if strain.short else None,
        joins=not strain.short,
        waiting=0.25 if strain.short else 0.5 if strain.slowed else 1.0,
        rest=0.5 if strain.slowed else 0.0,
    )


def strain_of(
    before: Strain,
    *,
    over_limit: bool,
    memory_used_bytes: int,
    memory_total_bytes: int,
    throttled: str | None = None,
    headroom_c: float | None = None,
) -> Strain:
    """Judge the board's readings.

    Args:
        before: as judged the last time.
        over_limit: the agent uses more memory than it may.
        memory_used_bytes: of the board.
        memory_total_bytes: of the board.
        throttled: the firmware's flags, hexadecimal, as in `BoardCounters`.
        headroom_c: degrees that the nearest thermal zone may still gain before the kernel would slow it down.
    """
    flags = _flags(throttled)
    margin = COOLER_C if before.hot else 0.0
    available = memory_total_bytes - memory_used_bytes
    return Strain(
        hot=bool(flags & THROTTLED) or (headroom_c is not None and headroom_c <= margin),
        slowed=bool(flags & (UNDER_VOLTAGE | FREQUENCY_CAPPED | SOFT_LIMIT)),
        short=over_limit or (memory_total_bytes > 0 and available < SHORT_PART * memory_total_bytes),
    )


def _flags(text: str | None) -> int:
    try:
        return int(text, 16) if text else 0
    except ValueError:
        return 0
