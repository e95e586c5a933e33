"""Files to a board's inbox: what is there is not sent, what was cut goes on, what is damaged is sent once more.

The rule: two round trips, however many files. The first asks what the board has; the second is one stream of bytes
into a script on the board that hashes while it writes, brings each file to the drive and only then gives it its
name. That is one pass where SFTP and a hash afterwards are three, works where sshd has no SFTP, and leaves after a
cut exactly the bytes that the board wrote.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.contract.errors import (
    ConnectionLost,
    DigestMismatch,
    FileMissing,
    RemoteCommandFailed,
    RemoteDiskFull,
)
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.fleet.session import Limits
from edge.progress import Progress, Silent

CHUNK_BYTES = 256 * 1024
BLOCK_BYTES = 4096
"""A file system gives space in blocks; so much more each file may take."""
CUT_STATUS = 3


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One file to be in the inbox.

    Attributes:
        name: path below the inbox, like `blobs/<sha256>`.
        content: a file of this machine, or the bytes.
        sha256: of the content.
        size_bytes: of the content.
        inside: digests of objects; where the board has all of them, it needs the file no more.
        by_name: its name is its digest: a file of that name and length is that file, since nothing gets its name
            before it was hashed.
        last: appears only when all others are there, and is written each time.
    """

    name: str
    content: Path | bytes
    sha256: str
    size_bytes: int
    inside: tuple[str, ...] = ()
    by_name: bool = False
    last: bool = False


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What an upload did.

    Attributes:
        files: names that were written. there: names that were there already.
        sent_bytes: what went over the wire. resumed_bytes: what an earlier, cut upload had brought.
        seconds: how long it took.
    """

    files: tuple[str, ...]
    there: tuple[str, ...]
    sent_bytes: int
    resumed_bytes: int
    seconds: float


def blob(sha256: str, path: Path, *, inside: tuple[str, ...] = ()) -> Upload:
    """A blob by its digest.

    Raises:
        FileMissing: `path` is not there.
    """
    return Upload(
        name=f"blobs/{sha256}",
        content=path,
        sha256=sha256,
        size_bytes=_size(path),
        inside=inside,
        by_name=True,
    )


def document(name: str, content: Path | bytes, *, last: bool = False) -> Upload:
    """A small file under a name of its own.

    Raises:
        FileMissing: `content` is a path and nothing is there.
    """
    data = content if isinstance(content, bytes) else _read(content)
    return Upload(
        name=name, content=data, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), last=last
    )


def upload(
    board: Board,
    root: str,
    uploads: Sequence[Upload],
    *,
    what: str,
    progress: Progress | None = None,
    spare_bytes: int = 0,
) -> Sent:
    """Bring files into the inbox below `root`, which must exist and belong to the board's user.

    Args:
        board: where to.
        root: edge's folder on the board; `~` is the user's home.
        uploads: what; those with `last` are put behind the others.
        what: for progress and sentences, like `the runtime`.
        progress: is told of bytes that the board has written.
        spare_bytes: room that must be left when all is there, for unpacking.

    Raises:
        RemoteDiskFull: before anything was sent, or while it was.
        DigestMismatch: a file arrived damaged twice, or is not what it is said to be here.
        ConnectionLost, DeadlinePassed: in between; the same call goes on where it stopped.
    """
    began = time.monotonic()
    progress = progress or Silent()
    wanted = sorted(uploads, key=lambda item: item.last)
    found = _survey(board, root, wanted, what)
    there = tuple(found["there"])
    offsets = {name: int(size) for name, size in found["parts"].items()}
    missing = [item for item in wanted if item.name not in found["there"]]
    offsets = {item.name: _offset(item, offsets) for item in missing}
    resumed = sum(offsets.values())
    _check_room(board, found, missing, offsets, spare_bytes)
    stream = _Stream(board, found["inbox"], what, progress)
    damaged = stream.send(missing, offsets)
    if damaged:
        again = [item for item in missing if item.name in damaged or item.last]
        damaged = stream.send(again, {})
    for name, sha256 in damaged.items():
        item = next(item for item in missing if item.name == name)
        raise DigestMismatch(file=_source(item), expected=item.sha256, found=sha256)
    return Sent(
        files=tuple(item.name for item in missing),
        there=there,
        sent_bytes=stream.sent_bytes,
        resumed_bytes=resumed,
        seconds=time.monotonic() - began,
    )


def _survey(board: Board, root: str, wanted: Sequence[Upload], what: str) -> dict[str, Any]:
    files = [
        {
            "name": item.name,
            "size": item.size_bytes,
            "sha256": item.sha256,
            "inside": list(item.inside),
            "by_name": item.by_name,
            "again": item.last,
        }
        for item in wanted
    ]
    found: dict[str, Any] = board.python(
        script("survey"), {"root": root, "files": files}, doing=f"asking what it has of {what}"
    )
    return found


def _offset(item: Upload, parts: dict[str, int]) -> int:
    """Where to go on; what is longer than the file can't be a part of it."""
    part = parts.get(item.name, 0)
    return part if part <= item.size_bytes and not item.last else 0


def _check_room(
    board: Board, found: dict[str, Any], missing: Sequence[Upload], offsets: dict[str, int], spare_bytes: int
) -> None:
    if not missing:
        return
    left = sum(item.size_bytes - offsets[item.name] + BLOCK_BYTES for item in missing)
    if left + spare_bytes > found["free"]:
        raise RemoteDiskFull(
            host=board.name, needed_bytes=left + spare_bytes, path=found["inbox"], free_bytes=found["free"]
        )


class _Stream:
    """One call of `receive` on the board, and what it says meanwhile."""

    def __init__(self, board: Board, inbox: str, what: str, progress: Progress) -> None:
        self.sent_bytes = 0
        self._board = board
        self._inbox = inbox
        self._what = what
        self._progress = progress
        self._before = 0
        self._total = 0
        self._full: dict[str, Any] | None = None

    def send(self, items: Sequence[Upload], offsets: dict[str, int]) -> dict[str, str]:
        """Send files from their offsets on; names and found digests of those that arrived damaged."""
        if not items:
            return {}
        self._total = sum(item.size_bytes for item in items)
        self._before = sum(offsets.values())
        request = {
            "inbox": self._inbox,
            "silence_s": int(4 * self._board.timeouts.stall_s) + 1,
            "files": [
                {
                    "name": item.name,
                    "size": item.size_bytes,
                    "sha256": item.sha256,
                    "offset": offsets.get(item.name, 0),
                    "last": item.last,
                }
                for item in items
            ],
        }
        self._progress.transfer(self._what, self._before, self._total)
        try:
            end = self._board.python(
                script("receive"),
                request,
                doing=f"sending {self._what}",
                payload=self._bytes(items, offsets),
                limits=self._limits(),
                on_record=self._heard,
            )
        except RemoteCommandFailed as error:
            self._explain(error, items)
        return {entry["name"]: entry["found"] for entry in end["damaged"]}

    def _limits(self) -> Limits:
        timeouts = self._board.timeouts
        sending_s = (self._total - self._before) / timeouts.slowest_bytes_s
        return Limits(stall_s=timeouts.stall_s, whole_s=math.ceil(4 * timeouts.stall_s + sending_s))

    def _heard(self, record: Any) -> None:
        if "full" in record:
            self._full = record
        self._progress.transfer(
            self._what, self._before + int(record.get("received", 0)), max(self._total, 1)
        )

    def _explain(self, error: RemoteCommandFailed, items: Sequence[Upload]) -> Any:
        if self._full is not None:
            needed = next(item.size_bytes for item in items if item.name == self._full["full"])
            raise RemoteDiskFull(
                host=self._board.name,
                needed_bytes=needed,
                path=self._full["folder"],
                free_bytes=self._full["free"],
            ) from error
        if error.facts["status"] == CUT_STATUS:
            raise ConnectionLost(host=self._board.name, doing=f"sending {self._what}") from error
        raise error

    def _bytes(self, items: Sequence[Upload], offsets: dict[str, int]) -> Iterator[bytes]:
        for item in items:
            for chunk in _content(item, offsets.get(item.name, 0)):
                self.sent_bytes += len(chunk)
                yield chunk


def _content(item: Upload, offset: int) -> Iterator[bytes]:
    """Exactly the promised number of bytes; a file that shrank meanwhile is padded, and then refused by its hash."""
    left = item.size_bytes - offset
    if isinstance(item.content, bytes):
        yield item.content[offset:]
        return
    with item.content.open("rb") as file:
        file.seek(offset)
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
    while left > 0:
        yield bytes(min(CHUNK_BYTES, left))
        left -= min(CHUNK_BYTES, left)


def _source(item: Upload) -> str:
    return item.name if isinstance(item.content, bytes) else str(item.content)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise FileMissing(file=path, what="the upload") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileMissing(file=path, what="the upload") from error
