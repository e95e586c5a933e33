"""The streams of the store as its writer knows them, in memory until they are written.

The rule: what is in memory is what the file holds plus the batch that is being taken; where that can't be written, all
of it is forgotten and read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.telemetry.clock import Offset

FIELDS = (
    "id", "device", "boot", "high_water", "offset", "offset_before", "offset_since",
    "samples", "events", "gaps", "breaks", "newest", "newest_at", "heard",
)  # fmt: skip
_READ = f"SELECT {', '.join(FIELDS)} FROM streams WHERE device = ? AND boot = ?"
_WRITE = (
    f"INSERT INTO streams({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))}) ON CONFLICT(id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in FIELDS[3:])
)


@dataclass(slots=True)
class Stream:
    """One stream, `(device, boot)`; the fields are those of the table.

    Attributes:
        high_water: everything up to it is stored, stated or broken.
        offset: where the boot's monotonic zero lies, or None.
        samples, events: taken in all. gaps, breaks: numbers that were stated and broken.
        newest, newest_at: number and time of the newest sample's row, or None.
        heard: when its last message came.
    """

    id: int
    device: str
    boot: str
    high_water: int = 0
    offset: Offset | None = None
    samples: int = 0
    events: int = 0
    gaps: int = 0
    breaks: int = 0
    newest: int | None = None
    newest_at: float | None = None
    heard: float = 0.0

    def row(self) -> tuple[object, ...]:
        """As the table has it."""
        return (
            self.id, self.device, self.boot, self.high_water, *(self.offset or (None, None, None)),
            self.samples, self.events, self.gaps, self.breaks, self.newest, self.newest_at, self.heard,
        )  # fmt: skip


class Streams:
    """The streams that were heard of."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Know only what the file holds."""
        self._known: dict[tuple[str, str], Stream] = {}
        self._next: int | None = None

    def get(self, device: str, boot: str) -> Stream:
        """The stream; a new one where there is none."""
        stream = self._known.get((device, boot))
        if stream is None:
            row = self._connection.execute(_READ, (device, boot)).fetchone()
            stream = _stream(row) if row else Stream(self._new_id(), device, boot)
            self._known[device, boot] = stream
        return stream

    def write(self, changed: Iterable[Stream]) -> None:
        """Write streams that changed."""
        self._connection.executemany(_WRITE, [stream.row() for stream in changed])

    def _new_id(self) -> int:
        if self._next is None:
            self._next = self._connection.execute("SELECT coalesce(max(id), 0) FROM streams").fetchone()[0]
        self._next += 1
        return self._next


def _stream(row: tuple[Any, ...]) -> Stream:
    least, before, since = row[4:7]
    offset = None if least is None else Offset(least, before, since)
    return Stream(*[*row[:4], offset, *row[7:]])
