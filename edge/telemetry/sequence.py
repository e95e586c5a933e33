"""What a collector does with the numbers of a message: a pure decision.

The rule: a stream is taken in order and without holes (go-back-N). Every number up to the high-water mark is stored, or
stated as dropped by the board (a gap), or was acknowledged to a store which is not this one (a break); nothing else,
and no number twice. Law: `high_water == taken + gaps + breaks`, summed over a stream's decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

LARGEST = 2**63 - 1
"""The largest number that the store can hold."""
Range = tuple[int, int]
"""First and last, both in it."""


class Decision(NamedTuple):
    """What becomes of one message.

    Attributes:
        high_water: the stream's mark afterwards.
        taken: positions of the items, within the message, that are stored.
        duplicates: items that were stored or stated before.
        gaps: numbers that the board dropped, not known before.
        broken: numbers that were acknowledged elsewhere, or None.
        hole: items were left out because numbers before them are missing; the board sends those first.
    """

    high_water: int
    taken: Sequence[int]
    duplicates: int
    gaps: Sequence[Range]
    broken: Range | None
    hole: bool


def decide(
    high_water: int, numbers: Sequence[int], *, gaps: Iterable[Range] = (), acknowledged: int = 0
) -> Decision:
    """Decide on a message.

    Args:
        high_water: the stream's mark before.
        numbers: of the message's items, growing.
        gaps: what the board states as dropped.
        acknowledged: the board holds nothing up to this number any more.
    """
    mark = max(high_water, acknowledged)
    broken = (high_water + 1, mark) if mark > high_water else None
    waiting = sorted(gaps)
    taken: list[int] = []
    stated: list[Range] = []
    duplicates, hole = 0, False
    for position, number in enumerate(numbers):
        if waiting:
            mark = _pass_gaps(mark, waiting, stated)
        if number == mark + 1:
            taken.append(position)
            mark = number
        elif number <= mark:
            duplicates += 1
        else:
            hole = True
            break
    if waiting:
        mark = _pass_gaps(mark, waiting, stated)
    return Decision(mark, taken, duplicates, stated, broken, hole)


def _pass_gaps(mark: int, waiting: list[Range], stated: list[Range]) -> int:
    """The mark behind the gaps that begin at it; they go from `waiting` to `stated`."""
    while waiting and waiting[0][0] <= mark + 1:
        _, last = waiting.pop(0)
        if last > mark:
            stated.append((mark + 1, last))
            mark = last
    return mark
