"""The requests that wait for one model, in the order that they will be run in.

The rule: a pure state machine, without clock, thread or event loop; who drives it tells the time. What waits is bounded
in number and in bytes. A request of a better level overtakes, but a request is overtaken by `OVERTAKING` later ones
per level at most, so that none starves.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

T = TypeVar("T")

HIGHEST, NORMAL, LOWEST = 1, 2, 3
"""Levels of priority."""
OVERTAKING = 32
"""Requests that came later and may be run before a request of the next level."""


def level_of(priority: int) -> int:
    """The level of a priority as clients state it: 1 is the highest, 0 the default, what is beyond `LOWEST` is that."""
    return min(priority, LOWEST) if priority > 0 else NORMAL


@dataclass(eq=False)
class Entry(Generic[T]):
    """One request that waits.

    Attributes:
        payload: whose it is; the queue does not look at it.
        samples: how many it asks for. size_bytes: of its tensors.
        arrived, deadline: seconds of the driver's clock; None: it may wait for ever.
        level: of its priority. kind: requests of one kind can run together.
        place: where it stands; the queue sets it.
    """

    payload: T
    samples: int = 1
    size_bytes: int = 0
    arrived: float = 0.0
    deadline: float | None = None
    level: int = NORMAL
    kind: Hashable = None
    place: int = field(default=-1, init=False)


@dataclass(frozen=True)
class Bounds:
    """What may wait.

    Attributes:
        requests: at once. size_bytes: of tensors together; one request alone may be larger.
    """

    requests: int
    size_bytes: int


_PLACE = attrgetter("place")


class Queue(Generic[T]):
    """Requests in the order of their places.

    Attributes:
        bounds: of what may wait; where they become narrower, who waits already stays.
        samples, size_bytes: of all that wait.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.samples = self.size_bytes = 0
        self._arrivals = 0
        self._waiting: list[Entry[T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, entry: Entry[T]) -> bool:
        """Let a request wait; False where the queue is full."""
        waiting, bounds = self._waiting, self.bounds
        if len(waiting) >= bounds.requests:
            return False
        if waiting and self.size_bytes + entry.size_bytes > bounds.size_bytes:
            return False
        self._arrivals += 1
        # Each level stands `OVERTAKING` arrivals further back; where two meet, the better level goes first.
        entry.place = (self._arrivals + OVERTAKING * entry.level) * (LOWEST + 1) + entry.level
        insort(waiting, entry, key=_PLACE)
        self.samples += entry.samples
        self.size_bytes += entry.size_bytes
        return True

    def take(self, most_samples: int, now: float) -> tuple[list[Entry[T]], list[Entry[T]]]:
        """Take what is to be run next.

        Args:
            most_samples: of the batch; the first request is taken whatever it asks for.
            now: requests whose deadline lies before it are not run.

        Returns:
            The batch, of one kind, empty only when nothing is left; and those before it that have expired.
        """
        batch: list[Entry[T]] = []
        expired: list[Entry[T]] = []
        room, taken = most_samples, 0
        for entry in self._waiting:
            if entry.deadline is not None and entry.deadline < now:
                expired.append(entry)
            elif not batch or (entry.kind == batch[0].kind and entry.samples <= room):
                batch.append(entry)
                room -= entry.samples
            else:
                break
            taken += 1
        del self._waiting[:taken]
        self._forget(*batch, *expired)
        return batch, expired

    def discard(self, entry: Entry[T]) -> bool:
        """Nobody waits for this request any more; False where it does not stand here."""
        try:
            self._waiting.remove(entry)
        except ValueError:
            return False
        self._forget(entry)
        return True

    def clear(self) -> list[Entry[T]]:
        """Take all that wait, in their order."""
        whole, self._waiting = self._waiting, []
        self._forget(*whole)
        return whole

    def _forget(self, *entries: Entry[T]) -> None:
        for entry in entries:
            self.samples -= entry.samples
            self.size_bytes -= entry.size_bytes
