"""How sure a difference is, as an e-value that may be looked at as often as one likes.

The rule: under "no difference" the chance that an e-value ever reaches 1/a is at most a (Ville's inequality). So a gate
that asks each second of a dwell needs no table of looks, no memory and no clock. What comes out is the
logarithm. Sources: Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences", Annals of Statistics 49, 2021 (one-sided normal mixture, beta-binomial mixture); Johari, Koomen,
Pekelis, Walsh, "Always valid inference", Operations Research 70, 2022 (the same for experiments that people watch).
"""

from __future__ import annotations

import math
from statistics import NormalDist

EXPECTED_SLOWDOWN = 0.2
"""The slowdown, as a logarithm, for which evidence grows fastest."""
MOST = 1e9
"""Of more trials, so many are counted: beyond, logarithms of factorials have no digits left."""
_NORMAL = NormalDist()


def of_excess(excess: float, error: float) -> float:
    """Log e-value that a number lies above 0, where it was measured as `excess` with the standard error `error`.

    A mixture over effects that are half-normal with the scale `EXPECTED_SLOWDOWN`.
    """
    if error <= 0:
        return math.inf if excess > 0 else -math.inf
    own, prior = error**2, EXPECTED_SLOWDOWN**2
    score = excess / error * math.sqrt(prior / (own + prior))
    positive = max(2 * _NORMAL.cdf(score), 5e-324)
    return 0.5 * math.log(own / (own + prior)) + score**2 / 2 + math.log(positive)


def of_more_often(failed: float, requests: float, others_failed: float, others: float) -> float:
    """Log e-value that requests fail more often here than among the others.

    Where both fail equally often, each failure is one of ours with the probability of our share of the requests
    (Przyborowski and Wilenski, Biometrika 31, 1940).
    """
    if not requests or not others:
        return -math.inf
    return of_chance(failed, failed + others_failed, requests / (requests + others))


def of_chance(hits: float, trials: float, chance: float) -> float:
    """Log e-value that each trial hits with more than `chance` (0 to 1, both excluded): a uniform mixture over the
    true chance."""
    if hits <= trials * chance:
        return -math.inf
    smaller = min(1.0, MOST / trials)
    hits, trials = hits * smaller, trials * smaller
    misses = trials - hits
    mixture = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(trials + 2)
    return mixture - hits * math.log(chance) - misses * math.log1p(-chance)
