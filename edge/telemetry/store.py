"""The telemetry store: one SQLite file, one writer, any number of readers.

The rule: only the process that holds the lock writes, and readers can't, whatever they ask; they see whole batches,
also while the writer writes and after it was killed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from agent.contract.errors import StoreUnusable
from edge import durable
from edge.config import lock
from edge.telemetry import schema
from edge.telemetry.alerts import Held, State
from edge.telemetry.boards import Known, KnownDevice
from edge.telemetry.ingest import Ingested, Intake, Received
from edge.telemetry.records import LinkState

DAY_S = 86_400
PRUNE_STEP = 2000
"""Rows that one step of `prune` deletes at most: some 20 ms, between which batches are taken."""


def nobody(device: str) -> KnownDevice | None:
    """A fleet without boards."""
    return None


class Store:
    """A store that is open; made by `open`. A context manager. For one thread at a time."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, known: Known, held: contextlib.ExitStack
    ) -> None:
        self.path = path
        self.connection = connection
        self._intake = Intake(connection, path, known)
        self._held = held
        self._file = _file(path)

    @classmethod
    def open(cls, path: Path, *, writer: bool = False, known: Known = nobody) -> Store:
        """Open the store at `path`.

        Args:
            path: the file; a writer makes it where there is none.
            writer: take messages; only one process can.
            known: for a writer, from a device's id to what the inventory has of it; asked for each message.

        Raises:
            StoreMissing: there is nothing to read yet.
            StoreNewer: a newer edge wrote it.
            StoreUnusable: it is torn, no store, can't be read or written, or another process writes it.
        """
        with contextlib.ExitStack() as held:
            if writer:
                busy = StoreUnusable(path=path, reason="another process writes it")
                with schema.told(path):
                    durable.make_folder(path.parent, mode=0o700)
                    held.enter_context(lock(path.parent, wait_s=0, file=f"{path.name}.lock", busy=busy))
                if not path.exists():
                    schema.create(path)
            connection = schema.connect(path, writer=writer)
            held.callback(connection.close)
            return cls(path, connection, known, held.pop_all())

    def ingest(self, batch: Sequence[Received]) -> Ingested:
        """Take a batch of messages in one transaction, see `edge.telemetry.ingest`.

        Raises:
            StoreUnusable: it can't be written; nothing of the batch happened, and nothing may be acknowledged.
        """
        self._check_file()
        return self._intake.take(batch)

    def write_links(self, links: Mapping[str, LinkState]) -> None:
        """Keep how the collector reaches boards, by device id.

        Raises:
            StoreUnusable: it can't be written.
        """
        if not links:
            return
        rows = [(d, link.tunnel, link.reason, link.silent_s, link.backlog) for d, link in links.items()]
        with self.transaction():
            self.connection.executemany("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?)", rows)

    def read_alerts(self) -> State:
        """Which alerts' conditions held when that was written last.

        Raises:
            StoreUnusable: it can't be read.
        """
        with schema.told(self.path):
            rows = self.connection.execute("SELECT rule, device, since, begun, value FROM alerts").fetchall()
        return {
            (rule, device): Held(since=since, begun=bool(begun), value=value)
            for rule, device, since, begun, value in rows
        }

    def write_alerts(self, state: State) -> None:
        """Keep which alerts' conditions hold now.

        Raises:
            StoreUnusable: it can't be written.
        """
        rows = [(*key, held.since, held.begun, held.value) for key, held in state.items()]
        with self.transaction():
            self.connection.execute("DELETE FROM alerts")
            self.connection.executemany("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", rows)

    def prune(self, keep_days: int, *, now: float) -> int:
        """Delete some samples and events that came more than `keep_days` days before `now`; 0 keeps all.

        The newest sample of each boot stays, and the newest event. Returns how many were deleted; it is called until
        that is 0.

        Raises:
            StoreUnusable: it can't be written.
        """
        if keep_days <= 0:
            return 0
        until = now - keep_days * DAY_S
        with self.transaction():
            return self._prune_samples(until) + self._prune_events(until)

    def _prune_samples(self, until: float) -> int:
        (kept,) = self.connection.execute("SELECT count(*) FROM streams").fetchone()
        oldest = self.connection.execute(
            "SELECT o.id, o.stream FROM (SELECT id, stream, rx FROM samples ORDER BY id LIMIT ?) o"
            " JOIN streams s ON s.id = o.stream WHERE o.rx < ? AND o.id <> s.newest LIMIT ?",
            (kept + PRUNE_STEP, until, PRUNE_STEP),
        ).fetchall()
        self.connection.executemany("DELETE FROM samples WHERE id = ?", [(row,) for row, _ in oldest])
        self.connection.executemany(
            "UPDATE streams SET pruned = pruned + 1 WHERE id = ?", [(stream,) for _, stream in oldest]
        )
        return len(oldest)

    def _prune_events(self, until: float) -> int:
        deleted = self.connection.execute(
            "DELETE FROM events WHERE id IN"
            " (SELECT id FROM (SELECT id, rx FROM events ORDER BY id LIMIT ?) WHERE rx < ?)"
            " AND id < (SELECT max(id) FROM events)",  # so that no position is ever used twice
            (PRUNE_STEP, until),
        )
        return deleted.rowcount

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of it or nothing.

        Raises:
            StoreUnusable: it can't be written.
        """
        self._check_file()
        with schema.told(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _check_file(self) -> None:
        """What is written into a file that has no name any more is lost, and SQLite does not mind."""
        if not self.is_in_place:
            raise StoreUnusable(path=self.path, reason="it was taken away, or replaced, while it was open")

    @property
    def is_in_place(self) -> bool:
        """Whether what is at its path is this one still."""
        return _file(self.path) == self._file

    def close(self) -> None:
        """Let go of the file and, as the writer, of the lock."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _file(path: Path) -> tuple[int, int] | None:
    """Which file is at `path`; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
