"""Which phase of an update a board was in, by what it said; and at which moments to cut, drawn from a seed.

The rule: moments are spread over all phases of an update that was measured uncut, so that the short ones get their
share; within a phase they are uniform.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

Snapshot = Mapping[str, Any]
"""A line of `onboard_watch`."""
TAIL_S = 4.0
"""How long after the reported end the board is still cut: it reclaims and tidies then."""


class Kind(enum.Enum):
    """What the next release of a round is."""

    MODEL = "model"
    RUNTIME = "model and agent"
    REFUSED = "bad model"


def phase(seen: Snapshot, counter: int) -> str:
    """The phase of the update to desired state `counter`."""
    doomed = any(place.startswith("-") for place in seen["temporaries"])
    if seen["counter"] < counter:
        if not seen["called"]:
            return "upload"
        if doomed:
            return "reclaim"
        return "stage" if seen["temporaries"] else "verify"
    if seen["state"] in ("staged", "checking"):
        return "check"
    if seen["state"] == "probation":
        return "probation" if seen["serving"] == seen["trial"] == counter else "switch"
    return "reclaim" if doomed else "end" if seen["called"] or seen["resume"] else "after"


@dataclass(frozen=True)
class Span:
    """One phase of an uncut update, in seconds since its first byte."""

    phase: str
    begun_s: float
    ended_s: float


def spans(
    heard: Sequence[tuple[float, Snapshot]], counter: int, *, begun_at: float, ended_at: float
) -> list[Span]:
    """The phases of an uncut update, in order."""
    found: list[Span] = []
    for place, (at, seen) in enumerate(heard):
        name = phase(seen, counter)
        until = heard[place + 1][0] if place + 1 < len(heard) else ended_at + TAIL_S
        begun_s, ended_s = max(0.0, at - begun_at), until - begun_at
        if ended_s <= 0:
            continue
        if found and found[-1].phase == name:
            found[-1] = Span(name, found[-1].begun_s, ended_s)
        else:
            found.append(Span(name, begun_s, ended_s))
    return found


def until_refused(measured: Sequence[Span]) -> list[Span]:
    """The phases of an update that is refused by its check, by those of one that is not."""
    found = [span for span in measured if span.phase in ("upload", "verify", "stage", "check")]
    return [*found, Span("reclaim", found[-1].ended_s, found[-1].ended_s + TAIL_S)]


@dataclass(frozen=True)
class Cut:
    """What a round does: which kind of update, and when the power goes, in seconds since its first byte."""

    kind: Kind
    aimed_at: str
    moment_s: float


def draw(count: int, seed: int, measured: Mapping[Kind, Sequence[Span]]) -> list[Cut]:
    """`count` cuts in random order."""
    chance = random.Random(seed)
    shares = {Kind.RUNTIME: round(count * 0.3), Kind.REFUSED: count // 5}
    shares[Kind.MODEL] = count - sum(shares.values())
    cuts = []
    for kind, share in shares.items():
        found = list(measured[kind])
        chance.shuffle(found)
        for span, _ in zip(cycle(found), range(share), strict=False):
            cuts.append(Cut(kind, span.phase, chance.uniform(span.begun_s, span.ended_s)))
    chance.shuffle(cuts)
    return cuts
