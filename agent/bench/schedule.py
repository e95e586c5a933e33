"""When requests of an open loop are due. The rule: the schedule knows nothing of the answers."""

from __future__ import annotations

import random
from collections.abc import Iterator

POISSON = "poisson"
CONSTANT = "constant"
ARRIVALS = (POISSON, CONSTANT)


def due_times(rate_per_s: float, seconds: float, arrivals: str) -> Iterator[float]:
    """Seconds from the start at which requests are due, rising, all below `seconds`.

    Args:
        rate_per_s: how many a second, on average.
        seconds: how long.
        arrivals: `constant`, one every `1 / rate_per_s`; `poisson`, as of many clients that do not know of each other
            (always the same ones, so that two servers get the same load).
    """
    if arrivals == CONSTANT:
        number, due = 0, 0.0
        while due < seconds:
            yield due
            number += 1
            due = number / rate_per_s
        return
    chance = random.Random(0)  # noqa: S311 - a load, no secret
    due = chance.expovariate(rate_per_s)
    while due < seconds:
        yield due
        due += chance.expovariate(rate_per_s)
