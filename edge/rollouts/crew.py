"""Many boards at once: a bounded number of threads, each at work on another board.

The rule: a board that hangs or is away delays no other, nobody new begins after `stop`, and what a thread did not
expect ends the whole rollout's command instead of one silent thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

END_S = 3.0
"""How long those at work get to leave their boards in order; what they leave is settled by the next command."""
MOST_WAITING = 16
"""Times as many boards may be waited for, between two attempts at them, as are worked on."""


class Stopped(Exception):
    """Nobody wants this board to be worked on any more."""


class Going(Protocol):
    """What work on a board asks of the crew that it is done by."""

    def check(self) -> None:
        """Go on, or raise Stopped."""

    def wait(self, seconds: float) -> None:
        """Give one's place away for so long; raise Stopped where it is stopped."""


class Crew:
    """Threads that work on boards.

    Args:
        size: how many boards at once, those not counted that are between two attempts.
        work: on one board, by its name; may run in many threads.
    """

    def __init__(self, size: int, work: Callable[[str, Going], None]) -> None:
        self._size = size
        self._work = work
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._at_work: set[str] = set()
        self._waiting = 0
        self._news = False
        self._failure: BaseException | None = None

    def send(self, names: Iterable[str]) -> None:
        """Begin with as many of these boards as there is room for.

        Raises:
            Exception: what a thread did not expect.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            for name in names:
                full = self._busy >= self._size or len(self._at_work) >= self._size * MOST_WAITING
                if full or self._stopping.is_set():
                    return
                if name not in self._at_work:
                    self._at_work.add(name)
                    threading.Thread(target=self._run, args=(name,), name=f"edge-{name}", daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether nobody is at work."""
        with self._changed:
            return not self._at_work

    def rest(self, seconds: float) -> None:
        """Wait until a board is done with, so long at most; not at all where one is since the last rest."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, timeout=seconds)
            self._news = False

    def stop(self, *, wait_s: float = END_S) -> None:
        """Let nobody begin, and those at work leave their boards."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._at_work, timeout=wait_s)

    def check(self) -> None:
        """Of `Going`."""
        if self._stopping.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Of `Going`: a board that can't be reached keeps no other one waiting."""
        with self._changed:
            self._waiting += 1
            self._news = True
            self._changed.notify_all()
        self._stopping.wait(seconds)
        with self._changed:
            self._changed.wait_for(lambda: self._busy < self._size or self._stopping.is_set())
            self._waiting -= 1
        self.check()

    @property
    def _busy(self) -> int:
        return len(self._at_work) - self._waiting

    def _run(self, name: str) -> None:
        try:
            self._work(name, self)
        except Stopped:
            return
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
        finally:
            with self._changed:
                self._at_work.discard(name)
                self._news = True
                self._changed.notify_all()
