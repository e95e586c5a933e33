"""Layers that are not what a zip should be: nothing outside is written, nothing grows past what was promised, and
whatever is wrong with one ends in an error of ours. `tests/update/test_unpacking.py` has the plain cases."""

from __future__ import annotations

import io
import random
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from agent.contract.codec import digest
from agent.contract.errors import ArchiveUnsafe, SizeMismatch
from agent.contract.runtime import Layer
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.inbox import Inbox
from agent.update.objects import ObjectStore
from agent.update.unpacking import MAX_DEPTH, unpack
from tests.update.world import Blobs

LENGTH = 400


def zipped(
    *entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED, kind: int = stat.S_IFREG, flags: int = 0
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr, info.compress_type = (kind | 0o644) << 16, method
            archive.writestr(info, data)
            info.flag_bits |= flags
    return stream.getvalue()


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same archive with another name of the same length: names that no library would write."""
    assert len(old) == len(new)
    return data.replace(old, new)


def overlapping() -> bytes:
    """Two entries of the central directory that share one place in the file: the seed of a quadratic bomb."""
    data = zipped(("a", b"x" * 200), ("b", b"y" * 200))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]


def zip64_lie(*, size: int) -> bytes:
    """An entry whose length stands in a ZIP64 field."""
    data = bytearray(zipped(("a", b"x" * LENGTH)))
    at = data.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, size)
    data[at + 24 : at + 28] = b"\xff" * 4
    data[at + 30 : at + 32] = len(extra).to_bytes(2, "little")
    data[at + 47 : at + 47] = extra
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = (end - at).to_bytes(4, "little")
    return bytes(data)


def bomb() -> bytes:
    """A thousand times what it says: 400 bytes promised, 40 MB packed."""
    data = bytearray(zipped(("a", b"\0" * 40_000_000), method=zipfile.ZIP_DEFLATED))
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.rindex(mark)
        data[at + place : at + place + 4] = LENGTH.to_bytes(4, "little")
    return bytes(data)


X = b"x" * LENGTH
HOSTILE = {
    "a name with NUL": renamed(zipped(("abcde", X)), b"abcde", b"a\0../"),
    "a drive of Windows": zipped(("C:evil", X)),
    "a stream of Windows": zipped(("evil:stream", X)),
    "a path of Windows": zipped(("..\\..\\evil", X)),
    "a share": zipped(("\\\\host\\share", X)),
    "above, in the middle": zipped(("a/../../evil", X)),
    "above, at the end": zipped(("a/..", X)),
    "a slash twice": zipped(("a//b", X)),
    "no name": renamed(zipped(("a", X)), b"a", b"/"),
    "too deep": zipped(("a/" * MAX_DEPTH + "b", X)),
    "too long": zipped(("a" * 300, X)),
    "a name that is no UTF-8": renamed(zipped(("äö", X)), "äö".encode(), b"\xff\xfe\xff\xfe"),
    "twice": zipped(("a", X[:200]), ("a", X[:200])),
    "twice but for case": zipped(("lib/a.py", X[:200]), ("lib/A.py", X[:200])),
    "a file below a file": zipped(("a", X[:200]), ("a/b", X[:200])),
    "a link": zipped(("a", X), kind=stat.S_IFLNK),
    "a device": zipped(("a", X), kind=stat.S_IFBLK),
    "a pipe": zipped(("a", X), kind=stat.S_IFIFO),
    "a socket": zipped(("a", X), kind=stat.S_IFSOCK),
    "encrypted": zipped(("a", X), flags=1),
    "packed by bzip2": zipped(("a", X), method=zipfile.ZIP_BZIP2),
    "packed by LZMA": zipped(("a", X), method=zipfile.ZIP_LZMA),
    "overlapping": overlapping(),
    "a bomb": bomb(),
    "longer by ZIP64": zip64_lie(size=1 << 62),
    "another name inside": renamed(zipped(("ab", X)), b"ab", b"ba").replace(b"ba", b"ab", 1),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    """By the store that the update process fills: no object, no leftover, nothing beside it."""
    data = HOSTILE[what]
    Blobs(tmp_path / "inbox").write(data)
    folder = UpdateFolder(tmp_path / "root")
    folder.objects.mkdir(parents=True)
    store = ObjectStore(folder, Inbox(tmp_path / "inbox"))
    with pytest.raises((ArchiveUnsafe, SizeMismatch)) as refused:
        store.put_layer(Layer("edge-agent", "1", digest(data), len(data), LENGTH))
    assert refused.value.code in ("artifact.archive-unsafe", "artifact.size-mismatch")
    assert list(folder.objects.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inbox", "root"]


def test_folders_that_an_archive_lists_are_never_made(tmp_path: Path) -> None:
    data = zipped(("../outside/", b""), ("/absolute/", b""), ("empty/", b""), ("a", X))
    (tmp_path / "layer").write_bytes(data)
    unpack(tmp_path / "layer", tmp_path / "out", unpacked_bytes=LENGTH, name="layer", files=DISK)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "layer", "out"]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_whatever_byte_is_another_an_archive_ends_in_an_error_of_ours(tmp_path: Path, method: int) -> None:
    whole = zipped(("a.txt", b"hello " * 50), ("d/b.txt", b"x" * 100), method=method)
    chance = random.Random(method)
    refused = 0
    for number in range(250):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(len(data))
            data[at] = chance.choice((data[at] ^ 1 << chance.randrange(8), 0, 255, chance.randrange(256)))
        (tmp_path / "layer").write_bytes(data)
        out = tmp_path / "out"
        try:
            unpack(tmp_path / "layer", out, unpacked_bytes=LENGTH, name="layer", files=DISK)
            assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) == LENGTH, number
        except (ArchiveUnsafe, SizeMismatch):
            refused += 1
        shutil.rmtree(out, ignore_errors=True)
        assert [path.name for path in tmp_path.iterdir()] == ["layer"], number
    assert refused > 100


def test_a_bomb_is_left_as_soon_as_it_is_longer_than_it_says(tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(bomb())
    written: list[int] = []

    class Counting(type(DISK)):  # type: ignore[misc]
        def write(self, path: Path, chunks, *, mode: int) -> int:  # type: ignore[no-untyped-def]
            def counted():  # type: ignore[no-untyped-def]
                for chunk in chunks:
                    written.append(len(chunk))
                    yield chunk

            return int(super().write(path, counted(), mode=mode))

    with pytest.raises((ArchiveUnsafe, SizeMismatch)):
        unpack(tmp_path / "layer", tmp_path / "out", unpacked_bytes=LENGTH, name="layer", files=Counting())
    assert sum(written) <= LENGTH
