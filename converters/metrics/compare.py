"""By how much an artifact is worse than its float original, on the same samples, and how sure that is.

The rule: proportions of samples get Tango's score interval (`converters.statistics`); everything else the percentile
interval of a paired bootstrap, which draws the same samples for both (B. Efron and R. Tibshirani, "An Introduction to
the Bootstrap", 1993, chapters 8 and 13). Below 30 samples a bootstrap says nothing, so that nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.statistics import MOST_SAMPLES, OUTSIDE, UNDECIDED, WITHIN, paired_drop, samples_needed

Array = NDArray[Any]
MOST_DRAWS = 1000
SEED = 20261127
FEWEST_SAMPLES = 30
TANGO = "95 % score interval of the difference of paired proportions (Tango 1998)"
BOOTSTRAP = "95 % percentile interval of a paired bootstrap, {draws} draws (Efron and Tibshirani 1993)"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An artifact against its original.

    Attributes:
        metric: its name, like `top-1`.
        samples: N.
        float_value, value: of original and artifact, in the metric's unit.
        drop_points: what was lost; percentage points of a metric that goes from 0 to 1, per cent of the original's
            value where it has a unit.
        low, high: its 95 % interval.
        lost, gained: samples that only the original, only the artifact got right; 0 where that has no meaning.
        draws: of the bootstrap that made the interval; 0 where it is the score interval.
    """

    metric: str
    samples: int
    float_value: float
    value: float
    drop_points: float
    low: float
    high: float
    lost: int = 0
    gained: int = 0
    draws: int = 0

    @property
    def method(self) -> str:
        """Of the interval, with its source."""
        return BOOTSTRAP.format(draws=self.draws) if self.draws else TANGO

    def verdict(self, budget_points: float) -> str:
        """`within`, `outside` or `undecided` against a budget in points; what lost no finite amount is outside."""
        if not math.isfinite(self.drop_points):
            return OUTSIDE
        if self.draws and self.samples < FEWEST_SAMPLES:
            return UNDECIDED
        if self.high <= budget_points:
            return WITHIN
        return OUTSIDE if self.low > budget_points else UNDECIDED

    def needed(self, budget_points: float) -> int | None:
        """How many samples would give a verdict if they went on as these did; None where a million would not do.

        The interval of a bootstrap narrows with the root of the samples, so that its side towards the budget tells.
        """
        if not self.draws:
            found = paired_drop(samples=self.samples, lost=self.lost, gained=self.gained)
            return samples_needed(found, budget_points / 100)
        if not math.isfinite(self.drop_points):
            return None
        gap = abs(budget_points - self.drop_points)
        side = (
            self.high - self.drop_points if self.drop_points <= budget_points else self.drop_points - self.low
        )
        if side > gap * math.sqrt(MOST_SAMPLES / self.samples):
            return None
        return max(FEWEST_SAMPLES, math.ceil(self.samples * (side / gap) ** 2 if gap else 0))

    def misses(self, budget_points: float) -> bool:
        """The best estimate lies over the budget."""
        return self.drop_points > budget_points


def proportions(metric: str, right: NDArray[np.bool_], float_right: NDArray[np.bool_]) -> Comparison:
    """Of samples that are right or wrong, `[N]` each."""
    lost, gained = int(np.sum(float_right & ~right)), int(np.sum(right & ~float_right))
    found = paired_drop(samples=len(right), lost=lost, gained=gained)
    return Comparison(
        metric=metric,
        samples=len(right),
        float_value=float(np.mean(float_right)),
        value=float(np.mean(right)),
        drop_points=100 * found.drop,
        low=100 * found.low,
        high=100 * found.high,
        lost=lost,
        gained=gained,
    )


def resampled(
    metric: str,
    samples: int,
    value: Callable[[NDArray[np.int64]], float],
    float_value: Callable[[NDArray[np.int64]], float],
    *,
    higher: bool = True,
    relative: bool = False,
    draws: int = MOST_DRAWS,
) -> Comparison:
    """Of a metric of some samples together.

    Args:
        metric: its name.
        samples: N.
        value: the metric of the artifact over the samples with these indices.
        float_value: of the original.
        higher: more is better.
        relative: it has a unit, so that the drop is one per cent of the original's value.
        draws: how often the samples are drawn anew.
    """

    def drop(indices: NDArray[np.int64]) -> tuple[float, float, float]:
        found, original = value(indices), float_value(indices)
        lost = original - found if higher else found - original
        scale = max(abs(original), 1e-12) if relative else 1.0
        return 100 * lost / scale, found, original

    points, found, original = drop(np.arange(samples))
    random = np.random.default_rng(SEED)
    drawn = [drop(random.integers(0, samples, samples))[0] for _ in range(draws)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Comparison(
        metric=metric,
        samples=samples,
        float_value=original,
        value=found,
        drop_points=points,
        low=float(low),
        high=float(high),
        draws=draws,
    )
