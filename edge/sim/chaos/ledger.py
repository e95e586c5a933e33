"""Both ends of the road, read from their files: what outboxes gave, and what the store's rows are.

The rule: read only, by queries of our own, so that no code that a run puts to the test says itself how well it did.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.sim.chaos.count import Kept, Span, Stream

GIVEN = "SELECT boot, given FROM streams"
WAITING = """
SELECT boot, place & ((1 << 40) - 1), place & ((1 << 40) - 1) FROM items JOIN streams ON number = place >> 40
UNION ALL
SELECT boot, first & ((1 << 40) - 1), last & ((1 << 40) - 1) FROM gaps JOIN streams ON number = first >> 40
"""
MARKS = "SELECT device, boot, high_water FROM streams"
ROWS = "SELECT device, boot, seq FROM {table} JOIN streams ON streams.id = {table}.stream"
GAPS = "SELECT device, boot, first, last FROM missing JOIN streams ON streams.id = stream WHERE kind = 'gap'"
BREAKS = "SELECT coalesce(sum(last - first + 1), 0) FROM missing WHERE kind = 'break'"
REFUSED = "SELECT coalesce(sum(count), 0) FROM refused"
BUSY_S = 5.0


def given(outbox: Path) -> dict[str, int]:
    """The highest number that each boot of a board gave. Its agent must have ended: it shares the file with nobody."""
    if not outbox.exists():
        return {}
    with _reading(outbox) as opened:
        return {boot: highest for boot, highest in opened.execute(GIVEN)}


def waiting(outbox: Path) -> dict[str, tuple[int, ...]]:
    """The numbers of each boot that are held, or known to be dropped, and not acknowledged; as `given`."""
    found: dict[str, list[int]] = defaultdict(list)
    if outbox.exists():
        with _reading(outbox) as opened:
            for boot, first, last in opened.execute(WAITING):
                found[boot] += range(first, last + 1)
    return {boot: tuple(numbers) for boot, numbers in found.items()}


def arrived(store: Path) -> dict[Stream, int]:
    """How far each stream has come, by the store's own mark: good enough to wait by, not to judge by."""
    if not store.exists():
        return {}
    with _reading(store) as opened:
        return {(device, boot): mark for device, boot, mark in opened.execute(MARKS)}


def kept(store: Path) -> dict[Stream, Kept]:
    """What the store has, row by row."""
    samples: dict[Stream, list[int]] = defaultdict(list)
    events: dict[Stream, list[int]] = defaultdict(list)
    gaps: dict[Stream, list[Span]] = defaultdict(list)
    with _reading(store) as opened:
        for table, found in (("samples", samples), ("events", events)):
            for device, boot, number in opened.execute(ROWS.format(table=table)):
                found[device, boot].append(number)
        for device, boot, first, last in opened.execute(GAPS):
            gaps[device, boot].append((first, last))
    return {
        stream: Kept(samples=tuple(samples[stream]), events=tuple(events[stream]), gaps=tuple(gaps[stream]))
        for stream in samples.keys() | events.keys() | gaps.keys()
    }


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the store counted besides.

    Attributes:
        refused: messages that were not taken. breaks: numbers that it was told to be acknowledged elsewhere.
    """

    refused: int
    breaks: int


def collected(store: Path) -> Collected:
    """The store's other counts."""
    with _reading(store) as opened:
        return Collected(refused=_number(opened, REFUSED), breaks=_number(opened, BREAKS))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as opened:
        opened.execute("BEGIN")  # one look: what is given and what is held belong together
        yield opened


def _number(opened: sqlite3.Connection, query: str) -> int:
    return int(opened.execute(query).fetchone()[0])
