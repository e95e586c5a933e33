"""Writes that survive a power cut.

The rule: a file that others read appears whole or not at all. It is written under another name in the same
folder, flushed to the drive, renamed, and then the folder is flushed too; only after that does anything refer
to it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent.contract.errors import DigestMismatch, FileMissing, SizeMismatch

CHUNK_BYTES = 1024 * 1024
PREFIX = ".part-"
"""What is left under such a name was interrupted and means nothing."""


def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path`, replacing what is there. `mode` holds from the first byte on."""
    with _beside(path, mode) as (temporary, file):
        file.write(data)
        _flush(file)
        temporary.replace(path)
    flush_folder(path.parent)


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path`, which must not exist; of two writers exactly one wins.

    Raises:
        FileExistsError: something is there already.
    """
    with new_file(path, mode=mode) as file:
        file.write(data)


@contextlib.contextmanager
def new_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write, which is at `path` once the context ended well; nothing may be there.

    Raises:
        FileExistsError: something is there already.
    """
    with _beside(path, mode) as (temporary, file):
        yield file
        _flush(file)
        _name(temporary, path)
    flush_folder(path.parent)


def copy(source: Path, path: Path, *, sha256: str, size_bytes: int, file: str) -> None:
    """Copy `source` to `path`, refusing it when its bytes are not those that were promised.

    Args:
        source: what is copied; it is read once, and what was read is what is checked.
        path: where to; untouched unless all is well.
        sha256: promised digest.
        size_bytes: promised length.
        file: how an error calls it.

    Raises:
        FileMissing: there is no `source`.
        SizeMismatch: its length is another.
        DigestMismatch: its bytes are others.
    """
    found = hashlib.sha256()
    length = 0
    try:
        reading = source.open("rb")
    except FileNotFoundError as error:
        raise FileMissing(file=file, what=source.parent) from error
    with reading, _beside(path, 0o644) as (temporary, writing):
        while length <= size_bytes and (chunk := reading.read(CHUNK_BYTES)):
            found.update(chunk)
            length += len(chunk)
            writing.write(chunk)
        if length != size_bytes:
            raise SizeMismatch(file=file, expected=size_bytes, found=max(length, source.stat().st_size))
        if found.hexdigest() != sha256:
            raise DigestMismatch(file=file, expected=sha256, found=found.hexdigest())
        _flush(writing)
        temporary.replace(path)
    flush_folder(path.parent)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make a folder and those above it where they are missing, durably; an existing one gets `mode` too."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=mode, exist_ok=True)
        flush_folder(folder.parent)
    path.chmod(mode)


def flush_folder(path: Path) -> None:
    """Bring a folder's names to the drive."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(temporary: Path, path: Path) -> None:
    """Give a file its name, unless that is taken. A file system without links (a stick's) can't do both at once."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.rename(path)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _beside(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """A new open file in the folder of `path`; its name is gone afterwards unless it was renamed."""
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
