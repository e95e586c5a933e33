"""The store's tables, and how a file becomes one.

The rule: a store appears whole (made under another name, then linked), is only ever added to by migrations, and what is
not a store that this edge can read is refused, never replaced: boards have deleted what it acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from agent.contract.errors import StoreMissing, StoreNewer, StoreUnusable
from edge import durable

APPLICATION = 0x65646765
"""`edge`, in the header of the file."""
BUSY_S = 10.0

MIGRATIONS = (
    """
    CREATE TABLE streams(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot TEXT NOT NULL,
        high_water INTEGER NOT NULL, offset REAL, offset_before REAL, offset_since REAL,
        samples INTEGER NOT NULL, events INTEGER NOT NULL, gaps INTEGER NOT NULL, breaks INTEGER NOT NULL,
        newest INTEGER, newest_at REAL, heard REAL NOT NULL, pruned INTEGER NOT NULL DEFAULT 0,
        UNIQUE(device, boot));
    CREATE TABLE samples(
        id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
        rx REAL NOT NULL, at REAL NOT NULL, wall REAL NOT NULL, monotonic REAL NOT NULL, body BLOB NOT NULL);
    CREATE UNIQUE INDEX samples_of_stream ON samples(stream, seq);
    CREATE TABLE events(
        id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
        rx REAL NOT NULL, at REAL NOT NULL, wall REAL NOT NULL, monotonic REAL NOT NULL,
        kind TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, facts TEXT NOT NULL);
    CREATE UNIQUE INDEX events_of_stream ON events(stream, seq);
    CREATE TABLE missing(
        stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, kind TEXT NOT NULL, rx REAL NOT NULL,
        PRIMARY KEY(stream, first)) WITHOUT ROWID;
    CREATE TABLE boards(
        device TEXT PRIMARY KEY, birth TEXT, presence TEXT, heard REAL,
        report TEXT, report_counter INTEGER NOT NULL DEFAULT 0, report_key TEXT, report_rx REAL) WITHOUT ROWID;
    CREATE TABLE links(
        device TEXT PRIMARY KEY, tunnel TEXT NOT NULL, reason TEXT, silent_s REAL NOT NULL, backlog INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE refused(
        device TEXT NOT NULL, code TEXT NOT NULL, count INTEGER NOT NULL, message TEXT NOT NULL, rx REAL NOT NULL,
        PRIMARY KEY(device, code)) WITHOUT ROWID;
    CREATE TABLE alerts(
        rule TEXT NOT NULL, device TEXT NOT NULL, since REAL NOT NULL, begun INTEGER NOT NULL, value REAL NOT NULL,
        PRIMARY KEY(rule, device)) WITHOUT ROWID;
    """,
)
"""Each brings the tables from the version before it to the next one. They only add."""
VERSION = len(MIGRATIONS)


def create(path: Path) -> None:
    """Make an empty store at `path`, durably; of two makers one wins.

    Raises:
        StoreUnusable: it can't be written.
    """
    temporary = path.with_name(f"{durable.PREFIX}{secrets.token_hex(8)}")
    with told(path):
        durable.make_folder(path.parent, mode=0o700)
        try:
            connection = sqlite3.connect(temporary, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f"PRAGMA application_id={APPLICATION}")
                _migrate(connection, 0)
            temporary.chmod(0o600)
            # What a deleted store left beside it SQLite would write into this one.
            for left in ("-wal", "-shm"):
                path.with_name(path.name + left).unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        durable.flush_folder(path.parent)


def connect(path: Path, *, writer: bool) -> sqlite3.Connection:
    """Open the store at `path`; as the writer, brought to this version.

    Raises:
        StoreMissing: there is none.
        StoreNewer: a newer edge wrote it.
        StoreUnusable: it is torn, no store of ours, or can't be read (or written).
    """
    if not path.exists():
        raise StoreMissing(path=path)
    with told(path):
        connection = sqlite3.connect(
            path.as_uri() + "?mode=rw",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection, path, writer=writer)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, writer: bool) -> None:
    found = _number(connection, "user_version")
    if _number(connection, "application_id") != APPLICATION or found < 1:
        raise StoreUnusable(path=path, reason="it is no telemetry store of edge, or what is left of one")
    if found > VERSION:
        raise StoreNewer(path=path, found=found, known=VERSION)
    connection.execute("PRAGMA cache_size=-65536")
    if writer:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        _migrate(connection, found)
        connection.execute(
            "UPDATE streams SET id = id WHERE id = 0"
        )  # a store that can't be written says so here
    else:
        connection.execute("PRAGMA query_only=1")
        if found < VERSION:
            raise StoreUnusable(
                path=path, reason="an older edge wrote it; the collector brings it up to date"
            )


def _migrate(connection: sqlite3.Connection, found: int) -> None:
    for version, script in enumerate(MIGRATIONS[found:], found + 1):
        connection.executescript(f"BEGIN IMMEDIATE;{script};PRAGMA user_version={version};COMMIT;")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """What SQLite and the system refuse, as an error of ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(path=path, reason=str(error)) from error
