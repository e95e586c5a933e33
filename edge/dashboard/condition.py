"""How a board is, in a word that a person acts on.

The rule: what is bad comes before what is doubtful, and each word says who has to look: `lost` and `silent` are the
board's doing, `unreachable` and `unheard` are not known to be (a cut cable, a collector that was not there).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from agent.contract.messages import Presence
from agent.contract.states import UpdateState
from edge.telemetry.records import BoardNow

SILENT_INTERVALS = 3
LEAST_SILENT_S = 5.0
"""Silence is spoken of after three of the board's intervals, and not before five seconds."""
HOT_C = 80.0
"""Where a Raspberry Pi begins to slow down."""
FAILING_PART = 0.05
"""Of the requests; a smaller part that fails is in doubt."""


class Level(enum.IntEnum):
    """How bad it is, the worst first."""

    BAD = 0
    DOUBT = 1
    NOTE = 2
    GOOD = 3

    @property
    def sign(self) -> str:
        """A letter of its own, so that colour is never the only sign."""
        return "✗?·✓"[self]

    @property
    def colour(self) -> str | None:
        """Where there are colours; None for the usual one."""
        return ("red", "yellow", None, "green")[self]


@dataclass(frozen=True)
class Condition:
    """One thing that can be said of a board: `lost`, bad, and why."""

    word: str
    level: Level
    reason: str = ""


def conditions(
    board: BoardNow | None, *, flashed: bool, interval_s: float, now: float
) -> tuple[Condition, ...]:
    """All that can be said of a board, the worst first; at least one.

    Args:
        board: what the store knows of it; None for nothing.
        flashed: it was enrolled.
        interval_s: how often it reports.
        now: seconds since 1970.
    """
    if board is None or (board.last_seen is None and board.link is None and board.reported is None):
        if not flashed:
            return (Condition("not flashed", Level.NOTE, "flash it with `edge flash`"),)
        return (Condition("waiting", Level.NOTE, "nothing was heard of it yet"),)
    found = (*_presence(board, interval_s, now), *_serving(board), *_update(board, now), *_hardware(board))
    return tuple(sorted(found, key=lambda it: it.level)) or (Condition("ok", Level.GOOD),)


def _presence(board: BoardNow, interval_s: float, now: float) -> Iterator[Condition]:
    """Whether it is there: one word, of the surest sign."""
    link = board.link
    passed_s = now - board.last_seen if board.last_seen is not None else None
    allowed_s = max(SILENT_INTERVALS * interval_s, LEAST_SILENT_S)
    if link is not None and not link.is_open:
        yield Condition("unreachable", Level.DOUBT, link.reason or f"the way to it is {link.tunnel}")
    elif board.presence is Presence.OFFLINE:
        yield Condition("offline", Level.NOTE, "it said goodbye")
    elif board.presence is Presence.LOST:
        yield Condition("lost", Level.BAD, "its connection ended without a goodbye")
    elif link is not None and link.silent_s > allowed_s:
        yield Condition("silent", Level.BAD, f"it could have reported for {link.silent_s:.0f} s and did not")
    elif passed_s is None:
        yield Condition("waiting", Level.NOTE, "nothing was heard of it yet")
    elif passed_s > allowed_s:
        yield Condition(
            "unheard", Level.DOUBT, f"nothing for {passed_s:.0f} s, in which the collector did not listen"
        )
    elif link is not None and link.backlog:
        yield Condition("catching up", Level.NOTE, "it still sends what waited")


def _serving(board: BoardNow) -> Iterator[Condition]:
    for model in board.models:
        if model.state == "failed":
            yield Condition("failing", Level.BAD, f"{model.release} does not load")
    requests = sum(window.requests for window in board.rates)
    failed = sum(window.failed for window in board.rates)
    if failed:
        codes = sorted({code for window in board.rates for code in window.errors})
        reason = f"{failed} of {requests} requests failed: {', '.join(codes)}"
        bad = failed >= FAILING_PART * requests
        yield Condition("failing" if bad else "errors", Level.BAD if bad else Level.DOUBT, reason)


def _update(board: BoardNow, now: float) -> Iterator[Condition]:
    reported = board.reported
    if reported is None:
        return
    if reported.stale(int(now)):
        yield Condition("stale", Level.DOUBT, "shown nothing newly signed for long: `edge device refresh`")
    why = reported.message or ""
    if reported.state is UpdateState.INCONSISTENT:
        yield Condition("inconsistent", Level.BAD, why)
    elif reported.state in (UpdateState.ROLLED_BACK, UpdateState.REFUSED):
        yield Condition(reported.state.value.replace("-", " "), Level.DOUBT, why)
    elif reported.in_progress:
        yield Condition("updating", Level.NOTE, f"{reported.state.value}, desired state {reported.counter}")


def _hardware(board: BoardNow) -> Iterator[Condition]:
    if board.window is None:
        return
    counters = board.window.now
    if counters.throttled:
        yield Condition("throttled", Level.DOUBT, f"the firmware says {counters.throttled}")
    if counters.temperature_c is not None and counters.temperature_c >= HOT_C:
        yield Condition("hot", Level.DOUBT, f"{counters.temperature_c:.0f} °C")
