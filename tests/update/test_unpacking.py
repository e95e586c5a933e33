"""Layers that want more than to be unpacked, and a board without room."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from agent.contract.codec import digest
from agent.contract.errors import ArchiveUnsafe, BoardDiskFull, SizeMismatch
from agent.contract.runtime import Layer
from agent.update.clock import Clock
from agent.update.commands import place
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.inbox import Inbox
from agent.update.objects import ObjectStore
from agent.update.unpacking import unpack
from tests.update.world import Blobs

DAY = 86_400


def archive(*entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            opened.writestr(info, data)
    return stream.getvalue()


HOSTILE = {
    "absolute": archive(("/etc/edge", b"x")),
    "above": archive(("a/../../b", b"x")),
    "backslash": archive(("a\\..\\b", b"x")),
    "link": archive(("a", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777),
    "device": archive(("a", b""), mode=stat.S_IFCHR | 0o666),
    "twice": archive(("a", b"x"), ("a", b"y")),
    "inside a file": archive(("a", b"x"), ("a/b", b"y")),
    "a file that is a folder": archive(("a/b", b"x"), ("a", b"y")),
    "dots": archive(("./a", b"x")),
    "no zip": b"PK nothing",
    "cut": archive(("a", b"x" * 1000))[:500],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_writes_nothing_outside_and_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "layer.zip"
    path.write_bytes(HOSTILE[name])
    try:
        size = sum(entry.file_size for entry in zipfile.ZipFile(path).infolist())
    except zipfile.BadZipFile:
        size = 1
    with pytest.raises(ArchiveUnsafe):
        unpack(path, tmp_path / "out", unpacked_bytes=size, name=name, files=DISK)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"layer.zip", "out"}


def test_an_archive_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(("a", b"x" * 1000)))
    index = data.rindex(b"PK\x01\x02")
    data[index + 24 : index + 28] = (10).to_bytes(4, "little")
    path = tmp_path / "layer.zip"
    path.write_bytes(data)
    with pytest.raises((ArchiveUnsafe, SizeMismatch)):
        unpack(path, tmp_path / "out", unpacked_bytes=10, name="liar", files=DISK)
    with pytest.raises(SizeMismatch):
        unpack(path, tmp_path / "out2", unpacked_bytes=1000, name="liar", files=DISK)


def test_an_object_is_read_only_complete_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "inbox")
    layer = blobs.add_layer("edge-agent", "1", {"agent/a.py": b"x = 1\n", "agent/deep/b.txt": b"hello"})
    runtime, _ = blobs.runtime(layer)
    assert place(tmp_path / "root", runtime, blobs.folder) == 0
    placed = tmp_path / "root/objects" / layer.sha256
    assert (placed / "agent/deep/b.txt").read_bytes() == b"hello"
    assert list(placed.rglob("*.pyc"))
    assert not [path for path in placed.rglob("*") if path.stat().st_mode & 0o222]
    assert sorted(path.name for path in (tmp_path / "root/objects").iterdir()) == sorted(
        [layer.sha256, runtime]
    )
    assert place(tmp_path / "root", runtime, tmp_path / "inbox") == 0, "again changes nothing"


def test_what_fails_in_the_middle_leaves_no_object(tmp_path: Path) -> None:
    data = archive(("a.py", b"x"), ("../b", b"y"))
    inbox = Blobs(tmp_path / "inbox")
    inbox.write(data)
    folder = UpdateFolder(tmp_path / "root")
    folder.objects.mkdir(parents=True)
    store = ObjectStore(folder, Inbox(inbox.folder))
    with pytest.raises(ArchiveUnsafe):
        store.put_layer(Layer("edge-agent", "1", digest(data), len(data), 2))
    assert list(folder.objects.iterdir()) == []


def test_a_disk_that_fills_up_is_said_with_its_numbers_and_nothing_is_left(tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mounted)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"can't mount a small file system: {done.stderr.decode().strip()}")
    try:
        blobs = Blobs(tmp_path / "inbox")
        layer = blobs.add_layer("edge-agent", "1", {"a.bin": os.urandom(12_000_000)})
        runtime, _ = blobs.runtime(layer)
        with pytest.raises(BoardDiskFull) as refused:
            place(mounted, runtime, blobs.folder)
        assert refused.value.facts["needed_bytes"] > refused.value.facts["free_bytes"]
        store = ObjectStore(UpdateFolder(mounted), Inbox(blobs.folder))
        (mounted / "ballast").write_bytes(b"x" * 8_000_000)
        with pytest.raises(BoardDiskFull):
            store.put_layer(layer)
        assert list((mounted / "objects").iterdir()) == []
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_the_clock_is_the_later_of_system_and_signed_time_and_a_jump_raises_no_floor() -> None:
    now = 1_800_000_000
    no_clock = Clock(floor=now, system=lambda: 0.0)
    assert no_clock.now() == now
    jumped = Clock(floor=now, system=lambda: now + 9_000 * DAY).raised(now + DAY)
    assert jumped.floor == now + DAY, "what a wrong clock said refuses no good update later"
    back = Clock(floor=jumped.floor, seen=jumped.seen, system=lambda: float(now + 2 * DAY))
    assert back.now() == now + 2 * DAY
    assert "before" in (back.doubt() or ""), "but it is not silent"
    assert Clock(floor=now, seen=now + 10, system=lambda: float(now)).doubt() is None
