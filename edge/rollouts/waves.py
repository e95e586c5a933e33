"""Which board is in which wave: texts in, lists of devices out.

The rule: the order is a stable hash of rollout and device, so that it is nobody's choice, the same whenever it is
asked for, and another one in the next rollout. A number says how many boards have the release when its wave is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from agent.contract.errors import PlanInvalid
from edge.rollouts.conditions import Amount, read_amount


@dataclass(frozen=True)
class Candidate:
    """A board that may take part: its name, its id, and its profile's name."""

    device: str
    device_id: str
    profile: str

    def matches(self, pattern: str) -> bool:
        """Whether it is of a group: a profile's name, or a pattern of names like `lab-*`."""
        return pattern == self.profile or fnmatchcase(self.device, pattern)


@dataclass(frozen=True)
class WaveRule:
    """One wave as it was asked for: up to so many boards in all, or a group."""

    amount: Amount | None = None
    group: str | None = None

    def __str__(self) -> str:
        return str(self.amount) if self.amount is not None else str(self.group)


def read_waves(text: str) -> tuple[WaveRule, ...]:
    """`1,10%,100%`, or with groups: `lab-*,raspberry-pi-5,100%`.

    Raises:
        PlanInvalid: a part can't be read, names no board, or does not grow.
    """
    rules = tuple(_rule(part.strip()) for part in text.split(","))
    for percent in (False, True):
        amounts = [rule.amount for rule in rules if rule.amount and rule.amount.percent is percent]
        for last, amount in pairwise(amounts):
            if amount.value <= last.value:
                raise PlanInvalid(
                    what=f"--waves {text}",
                    reason=f"`{amount}` after `{last}` adds no board; each number counts the waves before it",
                )
    return rules


def in_order(rollout: str, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The boards in the order in which `rollout` takes them."""

    def place(candidate: Candidate) -> bytes:
        return hashlib.sha256(f"{rollout}\0{candidate.device_id}".encode()).digest()

    return tuple(sorted(candidates, key=place))


def divide(
    rules: Sequence[WaveRule], ordered: Sequence[Candidate]
) -> tuple[tuple[WaveRule, tuple[Candidate, ...]], ...]:
    """The waves, each with its boards. Nobody is in two; a wave that nobody is left for is left out.

    Args:
        rules: as `read_waves` gives them.
        ordered: all boards that may take part, in their order.

    Raises:
        PlanInvalid: a group has no board.
    """
    left = list(ordered)
    waves: list[tuple[WaveRule, tuple[Candidate, ...]]] = []
    for rule in rules:
        if rule.group is not None:
            if not any(candidate.matches(rule.group) for candidate in ordered):
                raise PlanInvalid(what=f"--waves {rule}", reason="no board is of that profile or name")
            taken = [candidate for candidate in left if candidate.matches(rule.group)]
        else:
            assert rule.amount is not None
            done = len(ordered) - len(left)
            taken = left[: max(0, rule.amount.at_least(len(ordered)) - done)]
        left = [candidate for candidate in left if candidate not in taken]
        waves += [(rule, tuple(taken))] if taken else []
    return tuple(waves)


def _rule(part: str) -> WaveRule:
    if part[:1].isdigit():
        amount = read_amount(part, what="--waves")
        if amount.value == 0:
            raise PlanInvalid(what=f"--waves {part}", reason="a wave of no boards shows nothing")
        return WaveRule(amount=amount)
    if not part or part.startswith("-"):
        raise PlanInvalid(
            what=f"--waves {part or '(nothing)'}",
            reason="a wave is a count like `1`, a percentage like `10%`, a profile, or a pattern of names",
        )
    return WaveRule(group=part)
