"""What became of every number that a board gave: stored, stated as dropped, still waiting, or lost.

The rule: the boards' outboxes say what was made and the store's rows say what arrived, each row for itself; no
high-water mark, counter or acknowledgement is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Stream = tuple[str, str]
"""Device id and boot."""
Span = tuple[int, int]
"""First and last number, both meant."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """A stream as its board's outbox knows it: the highest number ever given, and those that wait there still."""

    highest: int
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A stream as the store's rows know it.

    Attributes:
        samples, events: numbers, one for each row.
        gaps: stated by the board as dropped.
    """

    samples: tuple[int, ...] = ()
    events: tuple[int, ...] = ()
    gaps: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is wrong with one stream.

    Attributes:
        device, boot: which.
        lost: given, but neither stored nor stated as dropped nor waiting.
        duplicated: with more than one row.
        invented: stored, but never given: published before it was durable.
        waiting: given and not arrived, but safe on the board: the end was not waited for long enough.
    """

    device: str
    boot: str
    lost: tuple[Span, ...]
    duplicated: tuple[Span, ...]
    invented: tuple[Span, ...]
    waiting: tuple[Span, ...]

    @property
    def good(self) -> bool:
        """Nothing is."""
        return not (self.lost or self.duplicated or self.invented or self.waiting)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All streams of a run together, in numbers (samples and events alike where it does not say).

    Attributes:
        streams: boots of boards.
        given: by the boards. samples, events: rows in the store. stated: dropped by boards, and said so.
        lost, duplicated, invented, waiting: as in `Found`.
        wrong: the streams that are not as they should be.
    """

    streams: int
    given: int
    samples: int
    events: int
    stated: int
    lost: int
    duplicated: int
    invented: int
    waiting: int
    wrong: tuple[Found, ...]

    @property
    def good(self) -> bool:
        """Every number arrived once, or its board said that it dropped it."""
        return not self.wrong


def count(given: Mapping[Stream, Given], kept: Mapping[Stream, Kept]) -> Counted:
    """Compare what was made with what arrived."""
    streams = sorted(given.keys() | kept.keys())
    found = [
        _compare(stream, given.get(stream, Given(highest=0)), kept.get(stream, Kept())) for stream in streams
    ]
    return Counted(
        streams=len(streams),
        given=sum(one.highest for one in given.values()),
        samples=sum(len(one.samples) for one in kept.values()),
        events=sum(len(one.events) for one in kept.values()),
        stated=sum(_size(one.gaps) for one in kept.values()),
        lost=sum(_size(one.lost) for one in found),
        duplicated=sum(_size(one.duplicated) for one in found),
        invented=sum(_size(one.invented) for one in found),
        waiting=sum(_size(one.waiting) for one in found),
        wrong=tuple(one for one in found if not one.good),
    )


def _compare(stream: Stream, given: Given, kept: Kept) -> Found:
    rows = Counter((*kept.samples, *kept.events))
    stated = {number for first, last in kept.gaps for number in range(first, last + 1)}
    made = set(range(1, given.highest + 1))
    missing = made - rows.keys() - stated
    waiting = missing & set(given.waiting)
    return Found(
        device=stream[0],
        boot=stream[1],
        lost=spans(missing - waiting),
        duplicated=spans(number for number, times in rows.items() if times > 1),
        invented=spans((rows.keys() | stated) - made),
        waiting=spans(waiting),
    )


def spans(numbers: Iterable[int]) -> tuple[Span, ...]:
    """Numbers as spans of consecutive ones, in order."""
    ordered = sorted(numbers)
    if not ordered:
        return ()
    ends = [index for index, (one, next_one) in enumerate(pairwise(ordered)) if next_one != one + 1]
    begins = [0, *(index + 1 for index in ends)]
    return tuple(
        (ordered[begin], ordered[end]) for begin, end in zip(begins, [*ends, len(ordered) - 1], strict=True)
    )


def _size(found: Sequence[Span]) -> int:
    return sum(last - first + 1 for first, last in found)
