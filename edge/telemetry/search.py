"""Rows of a stream, found by halving.

The rule: within a stream, rows arrive in the order of their numbers, and were measured in it. So the one index on
(stream, number) finds a row by its time or its position too, without an index on those.
"""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from edge.telemetry.body import unpack
from edge.telemetry.differences import Reading


class Row(NamedTuple):
    """A row of `samples`, its counters still packed."""

    id: int
    seq: int
    at: float
    monotonic: float
    body: bytes

    def reading(self) -> Reading:
        """Its counters."""
        board, models = unpack(self.body)
        return Reading(monotonic=self.monotonic, board=board, models=models)


_ROW = f"SELECT {', '.join(Row._fields)} FROM samples WHERE stream = ?"


def newest(connection: sqlite3.Connection, stream: int) -> Row | None:
    """The stream's last row."""
    row = connection.execute(f"{_ROW} ORDER BY seq DESC LIMIT 1", (stream,)).fetchone()
    return Row(*row) if row else None


def oldest(connection: sqlite3.Connection, stream: int) -> Row | None:
    """The stream's first row that is still there."""
    row = connection.execute(f"{_ROW} ORDER BY seq LIMIT 1", (stream,)).fetchone()
    return Row(*row) if row else None


def newest_upto(
    connection: sqlite3.Connection, stream: int, column: Literal["id", "at"], bound: float
) -> Row | None:
    """The stream's last row whose `id` or `at` is at most `bound`; from the newest backwards in growing steps, then by
    halving."""
    above = newest(connection, stream)
    if above is None or getattr(above, column) <= bound:
        return above
    found, step, top = None, 1, above.seq
    while True:  # rows above `top` are too new; find a number at which they are not
        low = top - step
        row = _upto(connection, stream, low)
        if row is None or getattr(row, column) <= bound:
            found = row
            break
        top, step = row.seq, 2 * step
    while top - low > 1:  # nothing at or below `low` is newer than `found`; rows from `top` on are too new
        middle = (low + top) // 2
        row = _upto(connection, stream, middle)
        if row is None or getattr(row, column) <= bound:
            found, low = row, middle
        else:
            top = row.seq
    return found


def _upto(connection: sqlite3.Connection, stream: int, seq: int) -> Row | None:
    row = connection.execute(f"{_ROW} AND seq <= ? ORDER BY seq DESC LIMIT 1", (stream, seq)).fetchone()
    return Row(*row) if row else None
