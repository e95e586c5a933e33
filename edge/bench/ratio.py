"""Whether two of what was measured side by side differ.

The rule: ratios are taken round by round, between windows that ran one after the other, and the interval is that of
their median by order statistics: it takes no more for granted than that rounds are independent. Whoever finds 1 within
it has seen no difference; whoever has too few rounds can't tell.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
FEWEST_ROUNDS = 6
"""Of five rounds not even the least and the most hold the median with `CONFIDENCE`."""


@dataclass(frozen=True)
class Ratio:
    """Of the second to the first.

    Attributes:
        median: of the rounds. low, high: the interval. rounds: how many.
        confidence: that the interval holds the true median, 0 to 1.
    """

    median: float
    low: float
    high: float
    rounds: int
    confidence: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.confidence < CONFIDENCE:
            return f"{self.rounds} rounds are too few to tell"
        if self.low <= 1 <= self.high:
            return "no difference seen"
        return "less" if self.high < 1 else "more"


def coverage(rounds: int, skipped: int) -> float:
    """The chance that the interval without the `skipped` least and most of so many values holds their median."""
    outside = sum(math.comb(rounds, below) for below in range(skipped + 1))
    return max(0.0, 1 - 2 * math.ldexp(outside, -rounds))


def ratio(first: Sequence[float | None], second: Sequence[float | None]) -> Ratio | None:
    """Of the second to the first, round by round; None where neither could be told, or is 0."""
    pairs = zip(first, second, strict=False)  # an interruption leaves one of them a round behind
    found = sorted(after / before for before, after in pairs if before and after)
    if not found:
        return None
    skipped = 0
    while coverage(len(found), skipped + 1) >= CONFIDENCE:
        skipped += 1
    return Ratio(
        median=statistics.median(found),
        low=found[skipped],
        high=found[-1 - skipped],
        rounds=len(found),
        confidence=coverage(len(found), skipped),
    )
