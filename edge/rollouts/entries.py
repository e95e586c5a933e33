"""The entries of a rollout's journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.release import Generation
from edge.rollouts.plan import Plan
from edge.rollouts.state import RolloutEvent


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A desired state that was signed for a board, before the board was told.

    Attributes:
        counter, nonce: of it.
        content: what to run. before: what the board ran then, or None for nothing.
    """

    counter: int
    nonce: str
    content: Generation
    before: Generation | None = None


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why something happened: a stable code, a sentence, and the numbers that decided."""

    code: str
    message: str
    numbers: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the journal.

    Attributes:
        number: from 1. previous: SHA-256 of the line before, or of nothing.
        at: seconds since 1970; for people, nothing is decided by it.
        event: what happened. device: to which board, where it is a board's.
        plan, asked, reason: what belongs to the event.
        mark: position in the telemetry store. before: the span before the wave, as two positions.
    """

    number: int
    previous: str
    at: float
    event: RolloutEvent
    device: str | None = None
    plan: Plan | None = None
    asked: Asked | None = None
    reason: Reason | None = None
    mark: int | None = None
    before: tuple[int, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
