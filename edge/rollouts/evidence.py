"""What the gate decides by: plain numbers, taken from reports and the store before it is asked.

The rule: nothing here is a judgement. A board is silent when its `silent_s` reaches the plan's deadline, which the gate
says; how an update ended is what the board's signed report says, or that nobody could reach it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge.telemetry.records import ModelWindow


class UpdateEnd(enum.Enum):
    """How the update of a board ended."""

    PENDING = "pending"
    """It has not ended, or has not begun."""
    CONFIRMED = "confirmed"
    FAILED = "failed"
    """Refused, rolled back or inconsistent: the board's own signed word."""
    UNREACHABLE = "unreachable"
    """The board could not be given the release; it says nothing for or against it."""


@dataclass(frozen=True, kw_only=True)
class BoardEvidence:
    """One board.

    Attributes:
        device: id. profile: what kind of board; boards of one kind are compared with each other.
        end: of this rollout's update; peers have not begun one.
        silent_s: `LinkState.silent_s`; None where no collector knows.
        now: windows of the span since the wave settled (its last board ended), the same span for every board.
        before: windows of a span that ended before the wave began, the same span for every board; empty where there
            was nothing.
    """

    device: str
    profile: str
    end: UpdateEnd = UpdateEnd.PENDING
    silent_s: float | None = None
    now: tuple[ModelWindow, ...] = ()
    before: tuple[ModelWindow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a wave at one moment.

    Attributes:
        release: that is rolled out, `digits@4`.
        wave: the boards of this wave. peers: those that this rollout has not begun to update and that are not in
            this wave; empty in the last one.
        waves: how many waves the plan has; the allowance for false alarms is divided among them.
    """

    release: str
    wave: tuple[BoardEvidence, ...]
    peers: tuple[BoardEvidence, ...]
    waves: int
