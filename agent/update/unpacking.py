"""Layers: zips of a runtime, unpacked into a new folder that nobody sees before it is whole.

The rule: an entry is a plain file with a plain relative path, there once whatever the case of its letters; the folder
never grows past the length that the manifest states; what is not so is refused as a whole.
"""

from __future__ import annotations

import errno
import importlib.util
import marshal
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agent.contract.errors import ArchiveUnsafe, SizeMismatch
from agent.update.files import Files

MAX_ENTRIES = 50_000
MAX_DEPTH = 32
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error,
    EOFError, IndexError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
"""What the library raises where an archive is not what it says."""
_UNCHECKED = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
"""How byte code begins that Python takes without a look at its source (PEP 552): both were verified together."""


def unpack(archive: Path, destination: Path, *, unpacked_bytes: int, name: str, files: Files) -> None:
    """Unpack `archive` into the new folder `destination`, and compile what Python would compile at each start (the
    folder will be read-only).

    Args:
        archive: a zip on our side, already verified.
        destination: must not exist; its folder must.
        unpacked_bytes: exact length of all files together.
        name: what the archive is called in errors.
        files: the file system.

    Raises:
        ArchiveUnsafe: it is no zip, or an entry is a link, leaves the folder, or stands twice.
        SizeMismatch: the files' length is not `unpacked_bytes`.
    """
    files.mkdir(destination, mode=0o755)
    try:
        with zipfile.ZipFile(archive) as opened:
            _write_entries(opened, destination, unpacked_bytes=unpacked_bytes, name=name, files=files)
    except _UNREADABLE as error:
        raise ArchiveUnsafe(file=name, entry="", reason=f"no readable zip ({error})") from error
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENAMETOOLONG,
        ):  # a place before the file, a name that can't be
            raise
        raise ArchiveUnsafe(file=name, entry="", reason=f"no readable zip ({error.strerror})") from error
    _compile(destination, files)


def _write_entries(
    opened: zipfile.ZipFile, destination: Path, *, unpacked_bytes: int, name: str, files: Files
) -> None:
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise ArchiveUnsafe(file=name, entry="", reason=f"one of more than {MAX_ENTRIES} entries")
    stated = sum(entry.file_size for entry in entries)
    if stated != unpacked_bytes:
        raise SizeMismatch(file=name, expected=unpacked_bytes, found=stated)
    made: set[PurePosixPath] = {PurePosixPath()}
    seen: set[PurePosixPath] = set()
    same: set[str] = set()
    for entry in entries:
        path = _safe_path(entry, name=name)
        if path in seen or path in made or str(path).casefold() in same:
            raise ArchiveUnsafe(file=name, entry=entry.filename, reason="there twice")
        seen.add(path)
        same.add(str(path).casefold())
        for folder in reversed(path.parents):
            if folder in seen:
                raise ArchiveUnsafe(file=name, entry=entry.filename, reason="inside another entry")
            if folder not in made:
                files.mkdir(destination / folder, mode=0o755)
                made.add(folder)
        executable = bool(entry.external_attr >> 16 & 0o111)
        files.write(
            destination / path, _content(opened, entry, name=name), mode=0o555 if executable else 0o444
        )


def _safe_path(entry: zipfile.ZipInfo, *, name: str) -> PurePosixPath:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    raw = entry.orig_filename
    parts = raw.split("/")
    if kind not in (0, stat.S_IFREG):
        reason = "a link or a device"
    elif raw.startswith("/") or "\\" in raw or "\0" in raw or ":" in parts[0]:
        reason = "an absolute path"
    elif any(part in ("", ".", "..") for part in parts) or len(parts) > MAX_DEPTH:
        reason = "a path that leaves the folder"
    elif entry.flag_bits & 0x1 or entry.compress_type not in METHODS:
        reason = "encrypted, or packed in another way than ours"
    else:
        return PurePosixPath(raw)
    raise ArchiveUnsafe(file=name, entry=raw, reason=reason)


def _content(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, *, name: str) -> Iterator[bytes]:
    left = entry.file_size
    with opened.open(entry) as source:
        while chunk := source.read(1 << 18):
            left -= len(chunk)
            if left < 0:
                raise ArchiveUnsafe(file=name, entry=entry.filename, reason="longer than it says")
            yield chunk
    if left:
        raise ArchiveUnsafe(file=name, entry=entry.filename, reason="shorter than it says")


def _compile(folder: Path, files: Files) -> None:
    """Byte code for every module that compiles; one that does not is left as it is, and fails when it is imported."""
    for source in sorted(folder.rglob("*.py")):
        data = source.read_bytes()
        try:
            code = compile(data, str(source.relative_to(folder)), "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError) as error:
            sys.stderr.write(f"not compiled: {source.name}: {type(error).__name__}\n")
            continue
        compiled = Path(importlib.util.cache_from_source(str(source), optimization=""))
        if not compiled.parent.is_dir():
            files.mkdir(compiled.parent, mode=0o755)
        files.write(compiled, [_UNCHECKED, importlib.util.source_hash(data), marshal.dumps(code)], mode=0o444)
