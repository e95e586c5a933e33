"""How sure an accuracy difference is.

The rule: the same samples were answered by both models, so that only those that one got right and the other wrong
say anything. The interval is Tango's score interval for the difference of paired proportions (T. Tango,
"Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
Statistics in Medicine 17(8), 1998, 891-908), which keeps its coverage where few samples differ or none.
A verdict is given only where the whole interval lies on one side of the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054
"""Of the standard normal distribution: 95 % lie within."""
MOST_SAMPLES = 1_000_000

WITHIN, OUTSIDE, UNDECIDED = "within", "outside", "undecided"


@dataclass(frozen=True, kw_only=True)
class PairedDrop:
    """Accuracy lost against the original, on the same samples, as parts of 1.

    Attributes:
        samples: N.
        lost, gained: samples that only the original, only the artifact answered right.
        low, high: 95 % interval of the drop.
    """

    samples: int
    lost: int
    gained: int
    low: float
    high: float

    @property
    def drop(self) -> float:
        """Positive means lost."""
        return (self.lost - self.gained) / self.samples

    def verdict(self, budget: float) -> str:
        """`within`, `outside` or `undecided` against a budget, as a part of 1."""
        return _verdict(self.low, self.high, budget)


def paired_drop(*, samples: int, lost: int, gained: int) -> PairedDrop:
    """The drop with its interval."""
    low, high = tango_interval(samples, lost, gained)
    return PairedDrop(samples=samples, lost=lost, gained=gained, low=low, high=high)


def tango_interval(samples: float, lost: float, gained: float) -> tuple[float, float]:
    """95 % score interval of (lost - gained) / samples, within -1 to 1."""
    return _root(samples, lost, gained, Z), _root(samples, lost, gained, -Z)


def samples_needed(drop: PairedDrop, budget: float) -> int | None:
    """How many samples would give a verdict if they went on as these did.

    Returns:
        A number above `drop.samples`, or None where a million would not do.
    """

    def decides(samples: float) -> bool:
        share = samples / drop.samples
        return _verdict(*tango_interval(samples, drop.lost * share, drop.gained * share), budget) != UNDECIDED

    low, high = drop.samples, drop.samples
    while not decides(high):
        if high >= MOST_SAMPLES:
            return None
        low, high = high, min(2 * high, MOST_SAMPLES)
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _verdict(low: float, high: float, budget: float) -> str:
    if high <= budget:
        return WITHIN
    return OUTSIDE if low > budget else UNDECIDED


def _score(samples: float, lost: float, gained: float, delta: float) -> float:
    """Tango's statistic for the hypothesis that the difference is `delta`; falls as `delta` grows."""
    distance = lost - gained - samples * delta
    a = 2 * samples
    b = -lost - gained + (2 * samples - lost + gained) * delta
    c = -gained * delta * (1 - delta)
    q21 = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = samples * (2 * q21 + delta * (1 - delta))
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _root(samples: float, lost: float, gained: float, wanted: float) -> float:
    """Where the statistic is `wanted`, by bisection."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _score(samples, lost, gained, middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
