"""How a long step tells what it is doing.

The rule: what does the work knows no terminal. It calls these two methods, and whoever started it decides
what a person sees of them.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Who is told of progress. Both methods must return at once and may be called from any thread."""

    def step(self, text: str) -> None:
        """One step is done; `text` is one line that says what was done."""

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """`done_bytes` of `total_bytes` of `what` are through; called often."""


class Silent:
    """Progress that nobody watches."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Say nothing."""
