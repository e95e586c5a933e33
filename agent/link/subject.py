"""Whom the link speaks for: what the agent hands in.

The rule: the link knows nothing of serving; it gets what it may tell as callables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.config import BoardFolder
from agent.contract.board import BoardConfig
from agent.link.asking import Ask
from agent.system import BoardReader

MOST_RESULTS = 16
"""That wait for a connection."""


@dataclass(frozen=True)
class Subject:
    """Whom the link speaks for, and what it tells of.

    Attributes:
        folder, config: the board's. boot: this start of the agent, 16 hexadecimal digits.
        board: reads the board's counters.
        counters: gives each served model's, as `ModelCounters` in plain values; called in the link's thread.
        models: gives what is served, each with name, release, bundle and state; so is it.
        ask: hands a request to what serves; so is it.
        results: what the board says unasked, each a model's name and JSON; newer ones take the place of older ones.
    """

    folder: BoardFolder
    config: BoardConfig
    boot: str
    board: BoardReader
    counters: Callable[[], Sequence[Mapping[str, Any]]]
    models: Callable[[], Sequence[Mapping[str, Any]]]
    ask: Ask
    results: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=MOST_RESULTS))
