"""The journal of a rollout: lines of JSON, each with the hash of the line before it, flushed one by one.

The rule: what is to be done is written first and done after. A line that a crash tore is cut off, since nothing was
done by it; anything else that does not fit stops everything, since nothing is done by a journal that can't be believed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError, DocumentInvalid, JournalDamaged, RolloutBusy
from edge import durable
from edge.config import lock
from edge.rollouts.entries import Entry
from edge.rollouts.fold import Rollout, after, begin
from edge.rollouts.plan import Plan
from edge.rollouts.state import RolloutEvent

FILE = "journal.jsonl"
LOCK = "engine.lock"
WAIT_S = 0.5
"""Longer than anybody takes to look whether it is held."""
FOLLOW_S = 0.3
NOTHING = hashlib.sha256(b"").hexdigest()


Listener = Callable[[Entry, Rollout], None]


def _nobody(entry: Entry, rollout: Rollout) -> None:
    """Nobody listens."""


class Journal:
    """One rollout's journal, open for writing by whoever holds the rollout's lock; for all threads of it.

    Attributes:
        folder: of the rollout.
        rollout: the state after the last entry.
    """

    def __init__(self, folder: Path, rollout: Rollout, *, count: int, last: str, size_bytes: int) -> None:
        self.folder = folder
        self.rollout = rollout
        self._count = count
        self._last = last
        self._size_bytes = size_bytes
        self._alone = threading.Lock()
        self._listener: Listener = _nobody

    @classmethod
    @contextmanager
    def create(cls, folder: Path, plan: Plan) -> Iterator[Journal]:
        """A new journal that holds the plan, and its lock for as long as the context lasts.

        Raises:
            FileExistsError: there is a rollout of that name.
        """
        durable.make_folder(folder)
        with _alone(folder, plan.rollout):
            entry = Entry(number=1, previous=NOTHING, at=_now(), event=RolloutEvent.PLAN, plan=plan)
            line = encode(entry) + b"\n"
            durable.write_new(folder / FILE, line)
            yield cls(folder, begin(entry), count=1, last=_hash(line), size_bytes=len(line))

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Journal]:
        """The journal in `folder`, and its lock for as long as the context lasts. A torn last line is cut off.

        Raises:
            RolloutBusy: another command holds it.
            JournalDamaged: it can't be believed.
        """
        with _alone(folder, folder.name):
            path = folder / FILE
            lines = _lines(path)
            size_bytes = sum(map(len, lines))
            if size_bytes < path.stat().st_size:
                _cut(path, size_bytes)
            *_, (_, rollout) = _read(path, lines)
            yield cls(folder, rollout, count=len(lines), last=_hash(lines[-1]), size_bytes=size_bytes)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with each entry that is written from now on, and the state after it."""
        self._listener = listener

    def append(self, event: RolloutEvent, **facts: Any) -> Rollout:
        """Write one more entry, durably; the state after it.

        Args:
            event: what happened, or is to be done.
            facts: further fields of `Entry`.

        Raises:
            DocumentInvalid: it can't follow; nothing was written.
            OSError: it could not be written; nothing of it is there.
        """
        with self._alone:
            entry = Entry(number=self._count + 1, previous=self._last, at=_now(), event=event, **facts)
            rollout = after(self.rollout, entry)
            line = encode(entry) + b"\n"
            self._write(line)
            self._count += 1
            self._last = _hash(line)
            self._size_bytes += len(line)
            self.rollout = rollout
            self._listener(entry, rollout)
        return rollout

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            rest = line
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._size_bytes)
            raise
        finally:
            os.close(descriptor)


def read(folder: Path) -> tuple[tuple[Entry, ...], Rollout]:
    """All entries of the journal in `folder`, and the state after them; whoever writes to it is not disturbed.

    Raises:
        JournalDamaged: it can't be believed.
    """
    path = folder / FILE
    steps = list(_read(path, _lines(path)))
    return tuple(entry for entry, _ in steps), steps[-1][1]


def follow(folder: Path) -> Iterator[tuple[Entry, Rollout]]:
    """Each entry and the state after it, those that are there and those that come, while a command is at work.

    Raises:
        JournalDamaged: it can't be believed.
    """
    path = folder / FILE
    given = size_bytes = 0
    while True:
        held = is_held(folder)
        if path.stat().st_size != size_bytes:
            size_bytes = path.stat().st_size
            steps = list(_read(path, _lines(path)))
            yield from steps[given:]
            given = len(steps)
        if not held:
            return
        time.sleep(FOLLOW_S)


def is_held(folder: Path) -> bool:
    """Whether a command is at work on the rollout in `folder`."""
    try:
        with _alone(folder, folder.name, wait_s=0.0):
            return False
    except RolloutBusy:
        return True


def _alone(folder: Path, rollout: str, *, wait_s: float = WAIT_S) -> AbstractContextManager[None]:
    return lock(folder, wait_s=wait_s, file=LOCK, busy=RolloutBusy(rollout=rollout))


def _lines(path: Path) -> list[bytes]:
    """The whole lines; what stands behind the last end of a line was torn by a crash."""
    whole, end, _ = path.read_bytes().rpartition(b"\n")
    lines = (whole + end).splitlines(keepends=True)
    if not lines:
        raise JournalDamaged(path=path, line=1, reason="it holds no plan")
    return lines


def _read(path: Path, lines: list[bytes]) -> Iterator[tuple[Entry, Rollout]]:
    previous = NOTHING
    rollout: Rollout | None = None
    for number, line in enumerate(lines, start=1):
        try:
            entry = decode(Entry, line)
            if (entry.number, entry.previous) != (number, previous):
                raise DocumentInvalid(document="Entry", reason="it does not follow the line before it")
            rollout = begin(entry) if rollout is None else after(rollout, entry)
        except ContractError as error:
            reason = error.facts.get("reason", error)
            raise JournalDamaged(path=path, line=number, reason=reason) from error
        previous = _hash(line)
        yield entry, rollout


def _cut(path: Path, size_bytes: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size_bytes)
        os.fsync(file.fileno())


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _now() -> float:
    return round(time.time(), 3)
