"""On the board: write files into edge's inbox. Each is written as `.part`, hashed, brought to the drive, renamed.

What comes in over standard input, after the request, is the files' bytes, one file behind the other. A cut leaves a
`.part` that the next call goes on with. A file whose bytes are not the promised ones is thrown away and named. Files
that come `last` appear only when all others are there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from io import FileIO
from typing import Any, BinaryIO

CHUNK = 256 * 1024
FLUSH = 8 * 1024 * 1024
"""So much is brought to the drive at a time: a power cut loses no more, and no flush takes long."""
LIFE = 4096
"""So many bytes are a sign of life."""
TELL_S = 0.2
"""So often it is said how much has come: on a slow link the laptop must see that something comes through."""


def say(**record: Any) -> None:
    sys.stdout.write("\x1e" + json.dumps(record) + "\n")
    sys.stdout.flush()


class Source:
    """The bytes that come in. Where fewer than `LIFE` come in `silence_s` of waiting, the laptop is gone without a
    word, or somebody lets a byte through now and then to keep us here for ever; so we go. What came stays."""

    def __init__(self, file: BinaryIO, silence_s: float) -> None:
        self.file = file
        self.silence_s = silence_s
        self.waited_s, self.came = 0.0, 0

    def read(self, count: int) -> bytes:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(self.silence_s - self.waited_s, 0.001))
        chunk: bytes = self.file.read1(min(count, CHUNK))  # type: ignore[attr-defined]
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not chunk:
            raise EOFError
        self.waited_s += time.monotonic() - began
        self.came += len(chunk)
        if self.came >= LIFE:
            self.waited_s, self.came = 0.0, 0
        return chunk


def open_part(path: str, offset: int) -> FileIO:
    """The `.part`, cut to `offset`; never through a link that somebody laid."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    part = FileIO(os.open(path, flags, 0o644), "r+b")
    if os.fstat(part.fileno()).st_size < offset:
        part.close()
        raise OSError(errno.ESTALE, "changed since it was looked at", path)
    part.truncate(offset)
    return part


def receive(source: Source, path: str, item: dict[str, Any], received: list[int]) -> str:
    """Write one file's `.part`, durably; the digest of its bytes."""
    found = hashlib.sha256()
    with open_part(path + ".part", item["offset"]) as part:
        for chunk in iter(lambda: part.read(CHUNK), b""):
            found.update(chunk)
        left = item["size"] - item["offset"]
        since, told = 0, time.monotonic()
        while left > 0:
            chunk = source.read(left)
            found.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[part.write(view) :]
            left -= len(chunk)
            since += len(chunk)
            received[0] += len(chunk)
            if since >= FLUSH:
                os.fsync(part.fileno())
                since = 0
            if time.monotonic() - told > TELL_S:
                say(received=received[0])
                told = time.monotonic()
        os.fsync(part.fileno())
    say(received=received[0])
    return found.hexdigest()


def flush_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main(request: dict[str, Any], stream: BinaryIO) -> int:
    os.umask(0o022)  # whatever the login files say: nobody else writes into the inbox
    inbox = request["inbox"]
    source = Source(stream, request["silence_s"])
    received, damaged, written = [0], [], []
    folders: set[str] = set()
    for item in request["files"]:
        path = os.path.join(inbox, item["name"])
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            folders.update((os.path.dirname(folder), inbox))
        try:
            found = receive(source, path, item, received)
        except EOFError:
            return 3
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = os.statvfs(folder)
            say(full=item["name"], folder=folder, free=free.f_bavail * free.f_frsize)
            return 4
        if found != item["sha256"]:
            os.unlink(path + ".part")
            damaged.append({"name": item["name"], "found": found})
        elif not (item["last"] and damaged):
            if item["last"]:
                for each in folders:
                    flush_folder(each)
            os.rename(path + ".part", path)
            folders.add(folder)
            written.append(item["name"])
    for each in folders:
        flush_folder(each)
    say(received=received[0], damaged=damaged, written=written, end=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer))
