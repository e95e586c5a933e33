"""What the stream remembers, and says of itself: `run/stream.json`.

The rule: it is written whole, and seldom, for it lies on a flash card: counters may be told a little later.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError
from agent.contract.stream import StreamState
from agent.plain_file import read_plain

SAVE_S = 10.0
LOG = logging.getLogger("agent.stream")


class Memory:
    """The state, and its file.

    Attributes:
        state: as it is now; whoever changes it calls `save`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = 0.0
        try:
            self.state = decode(StreamState, read_plain(path))
        except (OSError, ValueError, ContractError):
            self.state = StreamState()  # there is none, or it is not ours: nothing is known
        self._written: StreamState | None = self.state

    def save(self, now: float, *, at_once: bool = False) -> None:
        """Write it where it has changed: at once, or where what is written is old or says another error."""
        was = self._written
        told = was is not None and (was.seen, was.error) == (self.state.seen, self.state.error)
        if was == self.state or (told and not at_once and now - self._saved < SAVE_S):
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._saved, self._written = now, self.state
        try:
            fresh.write_bytes(encode(self.state))
            fresh.replace(self._path)
        except OSError as failure:
            LOG.error("`%s` can't be written: %s", self._path, failure.strerror)
