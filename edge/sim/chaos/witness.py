"""Who remembers what boards gave, whatever they say of it later.

The rule: a number that was given once stays given. A running agent's own words, and the outbox of each one that was
killed, are remembered from the moment on that they are seen; so an outbox that forgets what it held is found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from edge.sim.chaos import ledger
from edge.sim.chaos.board import Board
from edge.sim.chaos.count import Given, Stream


class Witness:
    """The highest number of each stream that was ever seen."""

    def __init__(self) -> None:
        self._highest: dict[Stream, int] = {}
        self._held_bytes: dict[str, int] = {}

    @property
    def given(self) -> int:
        """How many numbers there were, of all streams together."""
        return sum(self._highest.values())

    @property
    def nothing_is_held(self) -> bool:
        """Whether every board that answered said last that its outbox is empty."""
        return not any(self._held_bytes.values())

    def missing(self, arrived: Mapping[Stream, int]) -> int:
        """How many numbers are still to come, where streams have come so far."""
        return sum(max(0, highest - arrived.get(stream, 0)) for stream, highest in self._highest.items())

    async def ask(self, board: Board) -> None:
        """Hear what the agent that runs on a board says; nothing where none answers."""
        if (told := await asyncio.to_thread(board.told)) is not None:
            self._saw(board, told.boot, told.given)
            self._held_bytes[board.name] = told.held_bytes

    def read(self, board: Board) -> None:
        """Look into the outbox of a board whose agent has ended."""
        for boot, highest in ledger.given(board.outbox).items():
            self._saw(board, boot, highest)

    def judge(self, boards: Collection[Board]) -> dict[Stream, Given]:
        """All streams of boards whose agents have ended for good, and what their outboxes hold still."""
        held: dict[Stream, tuple[int, ...]] = {}
        for board in boards:
            self.read(board)
            for boot, numbers in ledger.waiting(board.outbox).items():
                held[board.device_id, boot] = numbers
        return {
            stream: Given(highest=highest, waiting=held.get(stream, ()))
            for stream, highest in self._highest.items()
        }

    def _saw(self, board: Board, boot: str, highest: int) -> None:
        stream = (board.device_id, boot)
        self._highest[stream] = max(self._highest.get(stream, 0), highest)
