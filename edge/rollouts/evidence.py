"""What the gate decides by: plain numbers, taken from reports and the store before it is asked.

The rule: nothing here is a judgement. A board is silent when its `silent_s` reaches the plan's deadline, which the gate
says; how an update ended is what the board's signed report says, or that nobody could reach it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from agent.contract.names import parse_release
from edge.telemetry.records import ModelWindow


class UpdateEnd(enum.Enum):
    """How the update of a board ended."""

    WAITING = "waiting"
    """It has not begun: nothing of the release was sent. What the board does meanwhile says nothing of it."""
    PENDING = "pending"
    """It has begun and not ended. A board that took the release and fell silent stays here."""
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
    end: UpdateEnd = UpdateEnd.WAITING
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


def model_of(release: str) -> str:
    """`digits` of `digits@4`."""
    return parse_release(release)[0]


def with_release(windows: Iterable[ModelWindow], release: str) -> tuple[ModelWindow, ...]:
    """Those of the release."""
    return tuple(window for window in windows if window.release == release)


def with_others(windows: Iterable[ModelWindow], release: str) -> tuple[ModelWindow, ...]:
    """Those of other releases of the same model."""
    return tuple(
        window for window in windows if window.model == model_of(release) and window.release != release
    )
