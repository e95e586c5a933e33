"""When requests of an open loop are due. The rule: the schedule knows nothing of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

POISSON = "poisson"
CONSTANT = "constant"
ARRIVALS = (POISSON, CONSTANT)


def due_times(rate_per_s: float, seconds: float, arrivals: str) -> Iterator[float]:
    """Seconds from the start at which requests are due, rising, all within `seconds`.

    There are exactly as many as the rate says, so that a short window is one at that rate too.

    Args:
        rate_per_s: how many a second.
        seconds: how long.
        arrivals: `constant`, one every `1 / rate_per_s`; `poisson`, as of many clients that do not know of each other
            (always the same ones, so that two servers get the same load).
    """
    count = max(1, round(rate_per_s * seconds))
    if arrivals == CONSTANT:
        yield from (number * seconds / count for number in range(count))
        return
    chance = Random(0)  # noqa: S311 - a load, no secret
    due = 0.0
    for left in range(
        count, 0, -1
    ):  # the least of so many times that lie anywhere in what is left of the window
        due += (seconds - due) * (1 - chance.random() ** (1 / left))
        yield due
