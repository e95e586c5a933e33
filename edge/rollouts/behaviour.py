"""The checks of what a release does: do requests fail more often, does it compute for longer.

The rule: boards of one kind are compared with boards of that kind, the compute time of a run with theirs at the same
time. A check fails where the measured value is beyond what is allowed *and* an e-value says that this is no chance; it
passes where counting leaves no doubt that it is within; between the two it is open, and says how much is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.rollouts import certainty
from edge.rollouts.comparison import LEAST_RUNS, Basis, Slowdown, slowdown
from edge.rollouts.conditions import Conditions
from edge.rollouts.evidence import BoardEvidence, before, releases, with_another, with_release
from edge.rollouts.verdict import Check, CheckVerdict
from edge.telemetry.records import ModelWindow

LATITUDE = math.log(1.15)
"""A release that may take 3 times as long is taken back when it was measured over 3 and is surely over 3 / 1.15. For
the limit 1.15 this is: surely slower."""
DOUBT = 2.0
"""Standard errors of counting that must lie between a passed value and the limit: it is so 39 times of 40."""
LEAST_CHANCE = 0.001
"""Where nothing tells how often requests fail without the release: so often, at least, is no news."""
_ENOUGH = 4.0
"""Standard errors at which an e-value is large enough, about; only to say how much is missing."""
_LARGEST = 2**53
"""Counts beyond it count as it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The boards of one profile, and how large a log e-value must be against a release on them."""

    profile: str
    release: str
    wave: Sequence[BoardEvidence]
    peers: Sequence[BoardEvidence]
    sure: float


@dataclass(frozen=True)
class _Failures:
    failed: int
    requests: int
    whose: str

    @property
    def rate(self) -> float:
        return self.failed / self.requests

    def __str__(self) -> str:
        return f"{self.whose} in {self.failed} of {self.requests} requests ({100 * self.rate:.2g} %)"


def errors(kind: Kind, conditions: Conditions) -> Check:
    """Whether requests fail more often than those of peers, and than those of the same boards before: the increase
    is that over the worse of the two, its certainty comes from both together."""
    here = _failures([with_release(board, kind.release) for board in kind.wave], kind.release)
    allowed = conditions.max_error_increase
    if not here.requests:
        return _nothing("errors", kind, conditions, allowed, f"no request came to {kind.release}")
    others = [with_another(board, kind.release) for board in kind.peers]
    elsewhere = frozenset[str]().union(*map(releases, others))
    past = [before(board, kind.release, elsewhere) for board in kind.wave]
    there, earlier = _failures(others, "its peers"), _failures(past, "the same boards before")
    references = [one for one in (there, earlier) if one.requests]
    base = max(references, key=lambda one: one.rate, default=None)
    if base is None:
        increase = here.rate
        evidence = certainty.of_chance(here.failed, here.requests, max(allowed, LEAST_CHANCE))
    else:
        increase = here.rate - base.rate
        failed, requests = sum(one.failed for one in references), sum(one.requests for one in references)
        evidence = certainty.of_more_often(here.failed, here.requests, failed, requests)
    said = f"errors of {here}, {f'of {base}' if base else 'with nothing to compare with'}"
    said += f": {100 * increase:+.2g} points (allowed {100 * allowed:+g})"
    if increase <= allowed:
        verdict = CheckVerdict.PASSED
    elif evidence >= kind.sure:
        verdict = CheckVerdict.FAILED
    else:
        verdict, said = CheckVerdict.OPEN, f"{said}; too few to be sure"
    return _check("errors", kind, verdict, increase, allowed, here.requests, said)


def compute_time(kind: Kind, conditions: Conditions) -> Check:
    """Whether a run takes longer than it does elsewhere, at the same time."""
    found = slowdown(kind.release, kind.wave, kind.peers)
    if found is None:
        return _incomparable(kind, conditions)
    limit = math.log(conditions.max_slowdown)
    surely = limit - min(max(limit, 0.0), LATITUDE)
    said = f"{_told(kind.release, found)} (allowed {conditions.max_slowdown:g})"
    evidence = certainty.of_excess(found.log_ratio - surely, found.error)
    if found.log_ratio > limit and evidence >= kind.sure:
        verdict = CheckVerdict.FAILED
    elif found.basis is Basis.BEFORE:
        verdict = CheckVerdict.PASSED if found.log_ratio <= limit else CheckVerdict.UNJUDGED
        said += "; no peer is left to tell the release from the load"
    elif found.log_ratio + DOUBT * found.counting <= limit:
        verdict = CheckVerdict.PASSED
    else:
        verdict, said = CheckVerdict.OPEN, f"{said}; {_missing(found, limit, surely)}"
    value = math.exp(found.log_ratio)
    return _check("slowdown", kind, verdict, value, conditions.max_slowdown, found.runs, said)


def _failures(boards: Iterable[Sequence[ModelWindow]], whose: str) -> _Failures:
    windows = [window for board in boards for window in board]
    requests = sum(max(0, window.requests) for window in windows)
    failed = sum(max(0, window.failed) for window in windows)
    return _Failures(min(failed, requests, _LARGEST), min(requests, _LARGEST), whose)


def _told(release: str, found: Slowdown) -> str:
    others = " and ".join(found.references)
    whom = (
        f"the same boards before, on {others}," if found.basis is Basis.BEFORE else f"its peers on {others}"
    )
    ratio = math.exp(found.log_ratio)
    times = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"
    how = ", less what the boards differed by before" if found.basis is Basis.PEERS_AND_BEFORE else ""
    return (
        f"{release} takes {found.release_ms:.2g} ms CPU a run, {whom} {found.reference_ms:.2g} ms: "
        f"{times} times{how}"
    )


def _missing(found: Slowdown, limit: float, surely: float) -> str:
    """What would settle it."""
    if found.log_ratio > limit:
        wanted = ((found.log_ratio - surely) / _ENOUGH) ** 2 - found.spread**2
    else:
        wanted = ((limit - found.log_ratio) / DOUBT) ** 2
    if wanted <= 0:
        return "boards differ by as much: more boards would tell, more runs would not"
    more = found.runs * (found.counting**2 / wanted - 1)
    return f"about {max(1, math.ceil(more))} more runs would tell" if more < 1e6 else "too close to tell"


def _incomparable(kind: Kind, conditions: Conditions) -> Check:
    runs = max((_runs(board, kind.release) for board in kind.wave), default=0)
    if runs < LEAST_RUNS:
        said = f"{kind.release} ran {runs} times on a board of this kind (needed {LEAST_RUNS})"
        return _nothing("slowdown", kind, conditions, conditions.max_slowdown, said)
    said = f"no peer of this kind is at work, and nothing is known from before {kind.release}"
    limit = conditions.max_slowdown
    return _check("slowdown", kind, CheckVerdict.UNJUDGED, None, limit, runs, said)


def _runs(board: BoardEvidence, release: str) -> int:
    return sum(window.compute_ms.count for window in with_release(board, release))


def _nothing(name: str, kind: Kind, conditions: Conditions, threshold: float, said: str) -> Check:
    """Too little happened: that is waited for, unless the plan asks for no requests."""
    verdict = CheckVerdict.OPEN if conditions.min_requests else CheckVerdict.UNJUDGED
    return _check(name, kind, verdict, None, threshold, 0, said)


def _check(
    name: str, kind: Kind, verdict: CheckVerdict, value: float | None, threshold: float, n: int, sentence: str
) -> Check:
    return Check(
        name=name,
        profile=kind.profile,
        verdict=verdict,
        value=value,
        threshold=threshold,
        n=n,
        sentence=sentence,
    )
