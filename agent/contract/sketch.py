"""A mergeable sketch of a distribution of positive numbers, for latencies.

Logarithmic buckets after Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019: value v falls into bucket ceil(log(v) / log(GAMMA)), so that every
quantile is off by at most `RELATIVE_ERROR` of itself. Law: `merge(of(a), of(b)) == of(a + b)`, but for the rounding
of `total`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid

RELATIVE_ERROR = 0.02
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(GAMMA)
SMALLEST = 1e-6
"""Values at or below it are counted as it."""
LARGEST = 1e12
"""Values at or above it are counted as it."""


def bucket(value: float) -> int:
    """The bucket's number for a value; `SMALLEST` and `LARGEST` take what lies beyond them."""
    if not SMALLEST <= value <= LARGEST:
        value = min(max(value, SMALLEST), LARGEST)
    return math.ceil(math.log(value) / _LOG_GAMMA)


_BUCKETS = frozenset(str(number) for number in range(bucket(SMALLEST), bucket(LARGEST) + 1))


@dataclass(frozen=True)
class Sketch:
    """Counts by bucket, with the sum of all values.

    Attributes:
        counts: bucket number (as text, since JSON's keys are text) to count.
        total: sum of the values.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    total: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.counts and not (self.counts.keys() <= _BUCKETS and min(self.counts.values()) >= 1):
            number, count = next((n, c) for n, c in self.counts.items() if n not in _BUCKETS or c < 1)
            raise DocumentInvalid(document="Sketch", reason=f"`counts` holds {count} in bucket {number!r}")

    @property
    def count(self) -> int:
        """How many values it holds."""
        return sum(self.counts.values())

    def quantile(self, part: float) -> float | None:
        """The value below which `part` (0 to 1) of the values lie, or None when it is empty."""
        if not self.counts:
            return None
        rank = part * (self.count - 1)
        seen = 0
        ordered = sorted((int(number), count) for number, count in self.counts.items())
        for number, count in ordered:
            seen += count
            if seen > rank:
                return 2 * GAMMA**number / (GAMMA + 1)
        return 2 * GAMMA ** ordered[-1][0] / (GAMMA + 1)


def of(values: Iterable[float]) -> Sketch:
    """The sketch of some values."""
    counts: dict[str, int] = {}
    total = 0.0
    for value in values:
        key = str(bucket(value))
        counts[key] = counts.get(key, 0) + 1
        total += value
    return Sketch(counts, total)


def merge(first: Sketch, second: Sketch) -> Sketch:
    """The sketch of both's values together."""
    counts = dict(first.counts)
    for key, count in second.counts.items():
        counts[key] = counts.get(key, 0) + count
    return Sketch(counts, first.total + second.total)
