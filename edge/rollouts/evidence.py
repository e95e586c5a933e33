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
    VANISHED = "vanished"
    """It was asked and then out of reach: it may run the release, so its silence counts."""


@dataclass(frozen=True, kw_only=True)
class BoardEvidence:
    """One board.

    Attributes:
        device: id. name: that people call it by, where it is known.
        profile: what kind of board; boards of one kind are compared with each other.
        end: of this rollout's update; peers have not begun one.
        silent_s: `LinkState.silent_s` since it was asked; None where no collector knows.
        cut_off_s: seconds of this machine being awake in which the collector had no way to it, without a break.
        now: windows of the span since the wave settled (its last board ended), the same span for every board.
        before: windows of a span that ended before the wave began, the same span for every board; empty where there
            was nothing.
    """

    device: str
    name: str = ""
    profile: str
    end: UpdateEnd = UpdateEnd.WAITING
    silent_s: float | None = None
    cut_off_s: float = 0.0
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


def with_release(board: BoardEvidence, release: str) -> tuple[ModelWindow, ...]:
    """What a board did with the release."""
    return tuple(window for window in board.now if window.release == release)


def with_another(board: BoardEvidence, release: str) -> tuple[ModelWindow, ...]:
    """What a peer did with another release of the same model; nothing where it was several."""
    return _of_one(_others(board.now, release))


def before(board: BoardEvidence, release: str, elsewhere: frozenset[str]) -> tuple[ModelWindow, ...]:
    """What a board did before, with one other release of the model.

    Where it had several (one was tried and taken back), it is the one that runs `elsewhere`, else nothing.
    """
    others = _others(board.before, release)
    if len(releases(others)) > 1:
        others = tuple(window for window in others if window.release in elsewhere)
    return _of_one(others)


def releases(windows: Iterable[ModelWindow]) -> frozenset[str]:
    """Those that windows are of."""
    return frozenset(window.release for window in windows)


def _others(windows: Iterable[ModelWindow], release: str) -> tuple[ModelWindow, ...]:
    model, _ = parse_release(release)
    return tuple(window for window in windows if window.model == model and window.release != release)


def _of_one(windows: tuple[ModelWindow, ...]) -> tuple[ModelWindow, ...]:
    return windows if len(releases(windows)) == 1 else ()
