"""What the board has measured and said, and the collector has not acknowledged yet: an SQLite file.

The rule: a number is given to an item in the transaction that stores it, and each number that was ever given is at any
time exactly one of: acknowledged, here, or in a recorded gap. So nothing is lost silently.

*What survives.* A committed item survives the end of the process (`kill -9`) at once: it is in the kernel's hands. A
power cut takes at most what was committed in the last `SYNC_S` seconds: commits are written through to the drive at
that pace, not each, because flash wears. A boot is written through before its first number is given.

*Bounded.* The items' bytes, with `ITEM_BYTES` for each, stay within the bound, but for events: these are never
dropped. The oldest samples go first, and where only events are left, the new sample. The file is about a third larger.

*Failures.* What can't be stored (a full disk, a read-only one) has a number all the same, and becomes a gap with the
next item that can. A torn file is put aside; what it held of this boot is a gap.

*For others to read,* at any time: the view `streams`: boot, acknowledged, and the highest number ever given, as durable
as the items.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import OutboxFailed
from agent.contract.link import OUTBOX_BYTES
from agent.contract.samples import Gap
from agent.link.outbox_file import (
    EVENT,
    FILE,
    ITEM_BYTES,
    SAMPLE,
    SEQ_BITS,
    SEQ_MASK,
    TORN_FILE,
    bytes_of,
    drop_samples,
    open_file,
    put_aside,
    record_gap,
)

SYNC_S = 30.0
RETRY_S = 1.0
"""After a failure it is not tried again before."""
KEPT_BOOTS = 256
"""Boots that are acknowledged whole are remembered up to this many, for acknowledgements that come late."""
ROOM_PART = 64
"""A full outbox frees this part of its bound at once, or each new sample would have to search again."""
MAX_GAPS = 200
"""What one message states; the rest comes with the next ones."""


@dataclass
class _Boot:
    """One start of the agent, as the file knows it."""

    number: int
    os_boot: str
    given: int
    acknowledged: int

    def place(self, seq: int) -> int:
        return self.number << SEQ_BITS | seq


@dataclass(frozen=True)
class Pending:
    """What the next message carries: samples of one boot that follow each other, or one event, or gaps alone.

    Attributes:
        place: of the last number that it accounts for; `Outbox.pending` goes on after it.
        items: number and body. event: the one item is an event.
        acknowledged: of this boot. same_os_boot: its monotonic seconds are still those of now.
        more: it is full, or ends before an event or another boot: something follows.
    """

    boot: str
    place: int
    items: tuple[tuple[int, bytes], ...]
    event: bool
    gaps: tuple[Gap, ...]
    acknowledged: int
    same_os_boot: bool
    more: bool


class Outbox:
    """The outbox of one start of the agent. Each method opens the file where it is not open; one thread may use it.

    Args:
        folder: where the file lies; made where it is not there.
        boot: this start, 16 hexadecimal digits. os_boot: the operating system's.

    Attributes:
        bound_bytes: see the module; may be changed.
    """

    def __init__(self, folder: Path, *, boot: str, os_boot: str, bound_bytes: int = OUTBOX_BYTES) -> None:
        self.path = folder / FILE
        self.bound_bytes = bound_bytes
        self.boot = boot
        self._os_boot = os_boot
        self._file: sqlite3.Connection | None = None
        self._boots: dict[str, _Boot] = {}
        self._own = _Boot(0, os_boot, 0, 0)
        self._numbered = 0
        """The highest number given, also to what could not be stored."""
        self._used_bytes = 0
        self._synced = float("-inf")
        self._try_again = float("-inf")

    @property
    def last_place(self) -> int:
        """Of the newest number that something can be sent for."""
        return self._own.place(self._own.given)

    @property
    def given(self) -> int:
        """The highest number of this boot whose item is stored, or recorded as a gap."""
        return self._own.given

    @property
    def acknowledged(self) -> int:
        """The highest number of this boot that nothing is held up to any more."""
        return self._own.acknowledged

    @property
    def used_bytes(self) -> int:
        """What is held, of all boots, as it counts towards the bound."""
        return self._used_bytes

    # --- in

    def add_sample(self, body: bytes) -> int:
        """Store a sample.

        Returns:
            Its number.

        Raises:
            OutboxFailed: it could not be stored; its number will be in a gap.
        """
        try:
            return self._add(SAMPLE, body)
        except OutboxFailed:
            self._numbered += 1
            raise

    def add_event(self, body: bytes, *, report: str) -> int:
        """Store an event and, in the same transaction, what of the board's report was told by it.

        Raises:
            OutboxFailed: it could not be stored, and has no number.
        """
        return self._add(EVENT, body, report)

    @property
    def said(self) -> str:
        """What of the board's report was told last; empty at first."""
        with self._using() as file:
            return str(file.execute("SELECT report FROM said").fetchone()[0])

    def _add(self, kind: int, body: bytes, report: str | None = None) -> int:
        with self._using() as file:
            own, seq = self._own, self._numbered + 1
            used = self._used_bytes + len(body) + ITEM_BYTES
            # One statement is a transaction by itself, and costs half of one in three.
            alone = seq == own.given + 1 and used <= self.bound_bytes and report is None
            with nullcontext() if alone and not self._must_sync else self._transaction(file):
                if seq > own.given + 1:
                    record_gap(file, own.place(own.given + 1), own.place(seq - 1))
                if used > self.bound_bytes:
                    used -= drop_samples(file, used - self.bound_bytes + self.bound_bytes // ROOM_PART)
                if used <= self.bound_bytes or kind == EVENT:
                    file.execute("INSERT INTO items VALUES (?, ?, ?)", (own.place(seq), kind, body))
                else:
                    used -= len(body) + ITEM_BYTES
                    record_gap(file, own.place(seq), own.place(seq))
                if report is not None:
                    file.execute("UPDATE said SET report = ?", (report,))
            self._used_bytes = used
            self._numbered = own.given = seq
            return seq

    # --- out

    def pending(self, after: int = 0, *, max_items: int = 100, max_bytes: int = 32 * 1024) -> Pending | None:
        """What is to be sent after the place `after`, of the oldest boot first; None where there is nothing.

        Raises:
            OutboxFailed.
        """
        with self._using() as file:
            rows: list[tuple[int, int, bytes]] = []
            length = 0
            query = "SELECT place, kind, body FROM items WHERE place > ? ORDER BY place LIMIT ?"
            for row in file.execute(query, (after, max_items)):
                length += len(row[2])
                if rows and (row[0] >> SEQ_BITS != rows[0][0] >> SEQ_BITS or length > max_bytes):
                    break
                if row[1] == EVENT and rows:
                    break
                rows.append(row)
                if row[1] == EVENT:
                    break
            query = "SELECT first FROM gaps WHERE last > ? ORDER BY first LIMIT 1"
            gap = file.execute(query, (after,)).fetchone()
            if gap is not None and (not rows or gap[0] >> SEQ_BITS < rows[0][0] >> SEQ_BITS):
                rows, number = [], gap[0] >> SEQ_BITS
            elif rows:
                number = rows[0][0] >> SEQ_BITS
            else:
                return None
            return self._message(file, number, rows, after)

    def _message(
        self, file: sqlite3.Connection, number: int, rows: list[tuple[int, int, bytes]], after: int
    ) -> Pending:
        name, boot = next((name, boot) for name, boot in self._boots.items() if boot.number == number)
        query = "SELECT first, last FROM gaps WHERE first BETWEEN ? AND ? AND last > ? ORDER BY first LIMIT ?"
        # A message states the gaps before it, too: what stated them first may be on its way no more.
        least = boot.place(0) if rows else after
        found = file.execute(query, (boot.place(0), boot.place(SEQ_MASK), least, MAX_GAPS)).fetchall()
        return Pending(
            boot=name,
            place=rows[-1][0] if rows else found[-1][1],
            items=tuple((place & SEQ_MASK, body) for place, _, body in rows),
            event=bool(rows) and rows[0][1] == EVENT,
            gaps=tuple(Gap(first & SEQ_MASK, last & SEQ_MASK) for first, last in found),
            acknowledged=boot.acknowledged,
            same_os_boot=boot.os_boot == self._os_boot,
            more=bool(rows) and rows[-1][0] < self.last_place,
        )

    def acknowledge(self, boot: str, seq: int) -> tuple[int, int] | None:
        """Delete what the collector has. More than was given is never acknowledged.

        Returns:
            The places from and up to which nothing is held any more; None where that was known, or the boot is not.

        Raises:
            OutboxFailed.
        """
        with self._using() as file:
            known = self._boots.get(boot)
            if known is None or min(seq, known.given) <= known.acknowledged:
                return None
            seq = min(seq, known.given)
            span = (known.place(0), known.place(seq))
            freed = bytes_of(file, *span)
            with self._transaction(file):
                file.execute("DELETE FROM items WHERE place BETWEEN ? AND ?", span)
                file.execute("DELETE FROM gaps WHERE first >= ? AND last <= ?", span)
                rest = (known.place(seq + 1), *span)
                file.execute("UPDATE gaps SET first = ? WHERE first BETWEEN ? AND ?", rest)
                query = "UPDATE boots SET acknowledged = ? WHERE number = ?"
                file.execute(query, (seq, known.number))
            known.acknowledged = seq
            self._used_bytes -= freed
            return span

    def close(self) -> None:
        """Let go of the file; what is used next opens it again."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                file.close()

    # --- the file

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The open file; what SQLite says against it is an error of ours."""
        if self._file is None and time.monotonic() < self._try_again:
            raise OutboxFailed(path=self.path, reason="it failed a moment ago")
        try:
            if self._file is None:
                self._file = self._open()
            yield self._file
        except (sqlite3.Error, OSError) as error:
            self.close()
            self._try_again = time.monotonic() + RETRY_S
            reason = str(error)
            if type(error) is sqlite3.DatabaseError:  # malformed, or no database: not one of its subclasses
                reason = f"{reason}; it is put aside as `{TORN_FILE}`"
                put_aside(self.path)
                self._try_again = float("-inf")
            raise OutboxFailed(path=self.path, reason=reason) from error

    @contextmanager
    def _transaction(self, file: sqlite3.Connection) -> Iterator[None]:
        """All or nothing; written through to the drive where the last time is `SYNC_S` ago."""
        through = self._must_sync
        if through:
            file.execute("PRAGMA synchronous=FULL")
        file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has ended it already
                file.execute("ROLLBACK")
            raise
        file.execute("COMMIT")
        if through:
            file.execute("PRAGMA synchronous=NORMAL")
            self._synced = time.monotonic()

    @property
    def _must_sync(self) -> bool:
        return time.monotonic() - self._synced >= SYNC_S

    def _open(self) -> sqlite3.Connection:
        file = open_file(self.path)
        try:
            self._begin(file)
        except BaseException:
            file.close()
            raise
        return file

    def _begin(self, file: sqlite3.Connection) -> None:
        """Learn what is held, and register this boot, durably, where it is not registered."""
        self._synced = float("-inf")
        with self._transaction(file):
            row = (self.boot, self._os_boot, self._own.acknowledged)
            file.execute("INSERT OR IGNORE INTO boots (boot, os_boot, acknowledged) VALUES (?, ?, ?)", row)
            file.execute(
                "DELETE FROM boots WHERE number IN (SELECT number FROM streams WHERE given = acknowledged"
                " AND boot != ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (self.boot, KEPT_BOOTS),
            )
        found = file.execute("SELECT boot, number, os_boot, given, acknowledged FROM streams")
        self._boots = {boot: _Boot(*rest) for boot, *rest in found}
        self._own = self._boots[self.boot]
        self._numbered = max(self._numbered, self._own.given)
        self._used_bytes = bytes_of(file, 0, 1 << 62)
