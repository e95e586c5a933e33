"""The outbox's file: its tables, and the changes that touch more than one of them.

The rule: a *place* is a boot's number and an item's together, so that one B-tree holds all items in the order of
sending. Ranges of dropped places that touch are one gap.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

FILE = "outbox.sqlite"
TORN_FILE = "outbox.torn.sqlite"
VERSION = 1
SAMPLE, EVENT = 0, 1
ITEM_BYTES = 64
"""What an item takes besides its body."""
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
BUSY_S = 0.2
_PRAGMAS = (
    "page_size=8192", "journal_mode=WAL", "synchronous=NORMAL",
    "secure_delete=OFF", "journal_size_limit=4194304", "cache_size=-256", "temp_store=MEMORY",
)  # fmt: skip
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE boots (number INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, os_boot TEXT NOT NULL,
    acknowledged INTEGER NOT NULL);
CREATE TABLE items (place INTEGER PRIMARY KEY, kind INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE gaps (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE said (report TEXT NOT NULL);
CREATE VIEW streams AS SELECT number, boot, os_boot, acknowledged, MAX(acknowledged,
    IFNULL((SELECT MAX(place) FROM items WHERE place >= number << {SEQ_BITS}
        AND place < (number + 1) << {SEQ_BITS}) & {SEQ_MASK}, 0),
    IFNULL((SELECT MAX(last) FROM gaps WHERE first >= number << {SEQ_BITS}
        AND first < (number + 1) << {SEQ_BITS}) & {SEQ_MASK}, 0)) AS given FROM boots;
INSERT INTO said VALUES ('');
PRAGMA user_version = {VERSION};
COMMIT;
"""  # noqa: S608 - numbers of this module


def open_file(path: Path) -> sqlite3.Connection:
    """The file, made where it is not there, each statement a transaction by itself.

    Raises:
        sqlite3.Error, OSError: it can't be opened; `NotSupportedError` where a newer agent wrote it.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    file = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        version = file.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.NotSupportedError(f"a newer agent wrote it, version {version}")
        for pragma in _PRAGMAS:
            file.execute(f"PRAGMA {pragma}")
        if version == 0:
            file.executescript(_SCHEMA)
    except BaseException:
        file.close()
        raise
    return file


def put_aside(path: Path) -> None:
    """Let a torn file lie beside, where somebody may look at it, until the next one is."""
    with suppress(OSError):
        path.replace(path.with_name(TORN_FILE))
        for tail in ("-wal", "-shm"):
            path.with_name(FILE + tail).unlink(missing_ok=True)


def bytes_of(file: sqlite3.Connection, first: int, last: int) -> int:
    """What the items from place to place count towards the bound."""
    query = "SELECT IFNULL(SUM(LENGTH(body) + ?), 0) FROM items WHERE place BETWEEN ? AND ?"
    return int(file.execute(query, (ITEM_BYTES, first, last)).fetchone()[0])


def drop_samples(file: sqlite3.Connection, least_bytes: int) -> int:
    """Drop the oldest samples, at least so many bytes where there are, and record the gaps. Returns what was freed."""
    freed = 0
    ranges: list[list[int]] = []
    for place, length in file.execute(
        "SELECT place, LENGTH(body) FROM items WHERE kind = ? ORDER BY place", (SAMPLE,)
    ):
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1][1] = place
        else:
            ranges.append([place, place])
        freed += length + ITEM_BYTES
        if freed >= least_bytes:
            break
    for first, last in ranges:
        file.execute("DELETE FROM items WHERE place BETWEEN ? AND ?", (first, last))
        record_gap(file, first, last)
    return freed


def record_gap(file: sqlite3.Connection, first: int, last: int) -> None:
    """Record a range, as one with those that it touches."""
    before = file.execute("SELECT first FROM gaps WHERE last = ?", (first - 1,)).fetchone()
    after = file.execute("SELECT last FROM gaps WHERE first = ?", (last + 1,)).fetchone()
    if after is not None:
        file.execute("DELETE FROM gaps WHERE first = ?", (last + 1,))
        last = after[0]
    if before is not None:
        file.execute("UPDATE gaps SET last = ? WHERE first = ?", (last, before[0]))
    else:
        file.execute("INSERT INTO gaps VALUES (?, ?)", (first, last))
