"""Answers that were given, for requests that come again. Pure: no clock, no input or output.

The rule: a request that comes again with the same id and the same bytes, to be answered at the same place, is not run
again: while it runs it is one request, and then it gets the answer that it got. What is kept is bounded in number, in
bytes and in time, and lives in memory alone: after a restart a request that comes again is run again.
"""

from __future__ import annotations

from collections import OrderedDict

from agent.link.message import Reply

MOST = 256
MOST_BYTES = 4 * 1024 * 1024
KEPT_S = 120.0


class Kept:
    """The window of answers, the oldest first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, tuple[Reply, float]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: bytes, now: float) -> Reply | None:
        """What was answered; None where that is not known, or too long ago."""
        self._expire(now)
        found = self._answers.get(key)
        return found[0] if found is not None else None

    def keep(self, key: bytes, reply: Reply, now: float) -> None:
        """Remember an answer; the oldest make room for it. One that alone is too long is not kept."""
        self._expire(now)
        length = len(reply.payload)
        if key in self._answers or length > MOST_BYTES:
            return
        self._answers[key] = reply, now
        self.bytes += length
        while len(self._answers) > MOST or self.bytes > MOST_BYTES:
            self._drop()

    def _expire(self, now: float) -> None:
        while self._answers and now - next(iter(self._answers.values()))[1] > KEPT_S:
            self._drop()

    def _drop(self) -> None:
        _, (reply, _) = self._answers.popitem(last=False)
        self.bytes -= len(reply.payload)
