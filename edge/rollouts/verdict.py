"""What the gate says, and why.

The rule: a verdict is nothing but what its checks say, in a fixed order: one FAILED is a rollback, else one OPEN is a
hold, else the rollout advances.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What to do next."""

    ADVANCE = "advance"
    HOLD = "hold"
    """Too little is known, or a person must look; ask again with newer numbers."""
    ROLLBACK = "rollback"


class CheckVerdict(enum.Enum):
    """What one check says."""

    PASSED = "passed"
    FAILED = "failed"
    """Evidence against the release."""
    OPEN = "open"
    """Not settled yet."""
    UNJUDGED = "unjudged"
    """There is nothing to judge by, by design; the sentence says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One reason, as numbers.

    Attributes:
        name: `failed`, `silent`, `errors`, `slowdown`, `unreachable`, `boards`, `requests`, `dwell` or `wave`.
        profile: the kind of board that it is about, or None for all.
        value: measured, None where nothing could be. threshold: what it is compared with, in the same unit.
        n: of how many boards, requests or runs.
        sentence: for people, without a full stop.
    """

    name: str
    verdict: CheckVerdict
    value: float | None
    threshold: float
    n: int
    sentence: str
    profile: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, and every check, those against the release first."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        found = {check.verdict for check in self.checks}
        if CheckVerdict.FAILED in found:
            return Verdict.ROLLBACK
        return Verdict.HOLD if CheckVerdict.OPEN in found else Verdict.ADVANCE

    @property
    def reasons(self) -> tuple[Check, ...]:
        """The checks that decided; for Advance, all of them."""
        deciding = {Verdict.ROLLBACK: CheckVerdict.FAILED, Verdict.HOLD: CheckVerdict.OPEN}.get(self.verdict)
        return tuple(check for check in self.checks if deciding in (None, check.verdict))
