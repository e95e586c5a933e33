"""What clients may cost: one of them, and all together.

The rule: what a client may send is bounded in bytes, in count and in time; and however many clients there are, what
they make the agent hold is bounded by the memory that it may use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SMALL_BYTES = 16 * 1024
"""A body up to here is not counted: one for each connection is little, and counting would cost more."""
SHARE = 8
"""The part of the agent's memory that clients' bytes may fill is one in so many."""
LARGEST_BODY = 32 * 1024 * 1024
"""Where memory allows more, too."""


@dataclass(frozen=True)
class Limits:
    """What one client may cost.

    Attributes:
        head_bytes: request line and headers together; of a chunked body what is not data, too.
        headers: how many. body_bytes: the body.
        connections: at once. address_connections: of them from one address; None for as many.
        receive_s: from the first byte of a request to its last, and one second more for each `body_rate` bytes.
        idle_s: between requests. write_s: for a client to read its answers.
    """

    head_bytes: int = 16 * 1024
    headers: int = 100
    body_bytes: int = LARGEST_BODY
    connections: int = 512
    address_connections: int | None = None
    receive_s: float = 20.0
    body_rate: int = 64 * 1024
    idle_s: float = 75.0
    write_s: float = 30.0

    @classmethod
    def within(cls, budget: Budget) -> Limits:
        """The limits of clients who share this budget: two of the largest bodies fit into it, so that one alone always
        does, and what can never fit is refused as too large instead of too much at once."""
        return cls(body_bytes=min(LARGEST_BODY, budget.total_bytes // 2))


class Holder(Protocol):
    """A connection, as the budget sees it. `held`: bytes of it that are counted."""

    held: int

    @property
    def can_yield(self) -> bool:
        """Whether it can give anything back before its model has answered."""
        ...

    def yield_memory(self) -> None:
        """Give back what it holds, and end."""
        ...


class Budget:
    """The bytes that all connections of all doors make the agent hold: bodies, requests that wait for their turn,
    answers that are not read. Where it is not enough, the connection that holds most gives way, so that many large
    requests are refused before one small one is.

    Args:
        total_bytes: how many they may be.
    """

    def __init__(self, total_bytes: int = 64 * 1024 * 1024) -> None:
        self.total_bytes = total_bytes
        self.held = 0
        self._holders: set[Holder] = set()

    @classmethod
    def of_memory(cls, memory_bytes: int) -> Budget:
        """The budget of an agent that may use so much memory."""
        return cls(memory_bytes // SHARE)

    def take(self, holder: Holder, count: int) -> None:
        """Count `count` bytes more for a connection."""
        if not holder.held:
            self._holders.add(holder)
        holder.held += count
        self.held += count
        while self.held > self.total_bytes:
            largest = max((each for each in self._holders if each.can_yield), key=_held, default=None)
            if largest is None:
                return
            largest.yield_memory()

    def give_back(self, holder: Holder, count: int) -> None:
        """Count `count` bytes less for it."""
        count = min(count, holder.held)
        holder.held -= count
        self.held -= count
        if not holder.held:
            self._holders.discard(holder)


def _held(holder: Holder) -> int:
    return holder.held
