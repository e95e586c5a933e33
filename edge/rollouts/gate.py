"""From stored numbers to Advance, Hold or Rollback."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge.rollouts.conditions import Conditions
from edge.rollouts.evidence import Evidence


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
    """Evidence against the release: Rollback."""
    OPEN = "open"
    """Not settled yet: Hold."""
    UNJUDGED = "unjudged"
    """There is nothing to judge by, by design; the sentence says what."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One reason, as numbers.

    Attributes:
        name: `failed`, `silent`, `errors`, `slowdown`, `unreachable`, `boards`, `requests`, `dwell`, `wave`.
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
    """What to do, and every check, in a fixed order: those against the release first.

    Attributes:
        reasons: the checks that decided; for Advance, all of them.
    """

    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[Check, ...]:
        kind = {Verdict.ROLLBACK: CheckVerdict.FAILED, Verdict.HOLD: CheckVerdict.OPEN}.get(self.verdict)
        return tuple(check for check in self.checks if kind is None or check.verdict is kind)


def decide(evidence: Evidence, conditions: Conditions) -> Decision:
    """The gate: the same evidence and conditions, the same decision. Never raises for what evidence holds."""
    raise NotImplementedError
