"""The watched folder: whole files, the newest, each once, and nothing changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent.contract.errors import StreamSourceFailed
from agent.stream.camera import Camera
from agent.stream.folder import SETTLED_S, Folder
from agent.stream.source import Picture


def write(folder: Path, name: str, body: bytes = b"x") -> None:
    (folder / name).write_bytes(body)
    time.sleep(0.011)  # inodes' times may be a tick of the kernel's apart


class Watched:
    """A folder with its own clock."""

    def __init__(self, path: Path, newest: int = 0) -> None:
        self.folder = Folder(path, newest)
        self.now = 100.0

    def next(self, later: float = 0.0) -> Picture | None:
        self.now += later
        return self.folder.next(self.now)

    def settled(self) -> Picture | None:
        """The next after what is there has been seen for long enough."""
        found = self.next()
        assert found is None
        return self.next(2 * SETTLED_S)


def test_the_newest_is_taken_and_the_others_never(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for name in ("a.jpg", "c.PNG", "b.npy"):
        write(tmp_path, name, name.encode())
    found = watched.settled()
    assert found is not None
    assert (found.name, found.body) == ("b.npy", b"b.npy")
    assert watched.folder.skipped == 2
    assert watched.next(10) is None


def test_a_file_is_taken_when_it_has_not_changed_for_a_moment(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for length in range(1, 4):
        write(tmp_path, "a.jpg", b"x" * length)
        assert watched.next(2 * SETTLED_S) is None
    found = watched.next(2 * SETTLED_S)
    assert found is not None
    assert found.body == b"xxx"


def test_a_file_that_is_written_anew_is_a_new_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    write(tmp_path, "a.jpg")
    assert watched.settled() is not None
    write(tmp_path, "a.jpg", b"y")
    found = watched.settled()
    assert found is not None
    assert found.body == b"y"


def test_what_came_before_is_not_taken_after_a_restart_though_a_copy_keeps_its_old_date(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path)
    write(tmp_path, "a.jpg")
    write(tmp_path, "b.jpg")
    first = watched.settled()
    assert first is not None
    again = Watched(tmp_path, first.at)
    assert again.settled() is None
    write(tmp_path, "copied.jpg")
    os.utime(tmp_path / "copied.jpg", (1, 1))
    found = Watched(tmp_path, first.at).settled()
    assert found is not None
    assert found.name == "copied.jpg"


def test_a_clock_that_goes_back_hides_nothing_that_comes_while_it_looks(tmp_path: Path) -> None:
    watched = Watched(tmp_path, time.time_ns() + 10**15)
    write(tmp_path, "old.jpg")
    assert watched.settled() is None
    write(tmp_path, "new.jpg")
    found = watched.settled()
    assert found is not None
    assert found.name == "new.jpg"


def test_what_is_no_picture_or_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "secret.txt")
    write(tmp_path, ".hidden.jpg")
    write(tmp_path, "a.jpg.part")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert Watched(tmp_path).settled() is None


def test_nothing_in_the_folder_is_changed(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    write(tmp_path, "a.jpg")
    write(tmp_path, "b.jpg")
    before = {each.name: each.stat().st_ctime_ns for each in tmp_path.iterdir()}
    assert watched.settled() is not None
    assert {each.name: each.stat().st_ctime_ns for each in tmp_path.iterdir()} == before


def test_a_folder_that_is_not_there_is_said_and_taken_up_when_it_comes(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "later")
    with pytest.raises(StreamSourceFailed, match=r"nothing comes from .*later`: No such file"):
        watched.next()
    (tmp_path / "later").mkdir()
    write(tmp_path / "later", "a.jpg")
    assert watched.settled() is not None


def test_a_board_without_opencv_says_so() -> None:
    with pytest.raises(StreamSourceFailed, match="camera:0: this board's runtime has no OpenCV"):
        Camera(0).next(0.0)
