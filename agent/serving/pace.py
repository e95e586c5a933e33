"""How many samples go into one run.

The rule: pure, without clock. The measured curve says where to begin; from there the size of a batch grows by one
sample while full runs keep within their time, and shrinks by a tenth when one does not (additive increase,
multiplicative decrease, as in Crankshaw et al., "Clipper", NSDI 2017). Where the curve is flat a batch gains nothing,
and there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_GAIN = 0.2
"""Part of a sample's time that batches must save to be worth the waiting for one another."""
DEFAULT_LATENCY_S = 0.1
"""From a request to its answer, where the release states no budget."""
DEFAULT_RUNS = 4
"""Of a slow model: the default is as many of its runs, when that is more."""
SHRINK = 0.9


@dataclass(frozen=True)
class Curve:
    """Seconds of a run by the number of its samples: `fixed_s + samples * sample_s`.

    Attributes:
        largest: samples of the largest batch that was timed.
    """

    fixed_s: float
    sample_s: float
    largest: int = 1

    @property
    def gain(self) -> float:
        """Part of a sample's time, 0 to 1, that the largest batch saves."""
        alone = self.run_s(1)
        return 1 - self.run_s(self.largest) / self.largest / alone if alone > 0 else 0.0

    def run_s(self, samples: int) -> float:
        """Seconds of one run of so many samples."""
        return self.fixed_s + samples * self.sample_s

    def fitting(self, seconds: float) -> int:
        """Samples of the largest run that takes so long at most; 0 where one sample takes longer. Where more samples
        took no more time, those that were timed: what a million would take is not known."""
        if self.run_s(1) > seconds:
            return 0
        return int((seconds - self.fixed_s) / self.sample_s) if self.sample_s > 0 else self.largest


def fit(timed: Sequence[tuple[int, float]]) -> Curve:
    """The curve through timed runs, each counted by how far it is off in proportion.

    Args:
        timed: pairs of samples and seconds, one at least, seconds above 0.
    """
    largest = max(samples for samples, _ in timed)
    if largest == min(samples for samples, _ in timed):
        return Curve(0.0, sum(seconds for _, seconds in timed) / len(timed) / largest, largest)
    weights = [1 / seconds**2 for _, seconds in timed]
    rows = list(zip(weights, timed))  # noqa: B905 - one weight each
    total = sum(weights)
    mean_n = sum(weight * samples for weight, (samples, _) in rows) / total
    mean_s = sum(weight * seconds for weight, (_, seconds) in rows) / total
    across = sum(weight * (samples - mean_n) * (seconds - mean_s) for weight, (samples, seconds) in rows)
    sample_s = max(0.0, across / sum(weight * (samples - mean_n) ** 2 for weight, (samples, _) in rows))
    fixed_s = mean_s - sample_s * mean_n
    if fixed_s < 0:  # a batch costs more than its samples alone: nothing is saved
        return Curve(0.0, sum(seconds / samples for samples, seconds in timed) / len(timed), largest)
    return Curve(fixed_s, sample_s, largest)


class Pace:
    """The size of the next batch.

    Args:
        curve: as measured. budget_s: what the release allows one inference, None where it states nothing.
        batches: whether requests may run together.

    Attributes:
        target_s: what one run may take. A request that comes when one has just begun waits for it and for its own.
    """

    def __init__(self, curve: Curve, *, budget_s: float | None, batches: bool) -> None:
        budget_s = budget_s or max(DEFAULT_LATENCY_S, DEFAULT_RUNS * curve.run_s(1))
        self.target_s = budget_s / 2
        self._largest = curve.largest if batches and curve.gain >= LEAST_GAIN else 1
        self._size = float(max(1, min(self._largest, curve.fitting(self.target_s))))

    @property
    def batches(self) -> bool:
        """Whether requests run together at all."""
        return self._largest > 1

    @property
    def samples(self) -> int:
        """Of the next batch, at most."""
        return int(self._size)

    def ran(self, samples: int, seconds: float) -> None:
        """A run of so many samples took so long."""
        if seconds > self.target_s:
            if samples <= self._size:
                self._size = max(1.0, self._size * SHRINK)
        elif samples >= int(self._size):
            self._size = min(float(self._largest), self._size + 1)
