"""What crash points found, each as a test of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import encode
from agent.contract.errors import BoardDiskFull
from agent.update.commands import apply, recover
from agent.update.files import Files


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board that was enrolled and asked for nothing."""
    monkeypatch.setenv("EDGE_SIM", "1")
    monkeypatch.setenv("EDGE_SIM_SERIAL_FILE", str(tmp_path / "serial"))
    (tmp_path / "serial").write_text("simulated-1")
    for name in ("state", "inbox", "objects", "generations"):
        (tmp_path / name).mkdir()
    config = BoardConfig("kitchen-1", "d-0123456789", "simulated-1", "sim-x86-64", SERVICE_SUPERVISOR)
    (tmp_path / "board.json").write_bytes(encode(config))
    return tmp_path


def test_a_cut_after_the_answer_leaves_nothing_beside_the_record(board: Path) -> None:
    """The request was ended, so no update process came that would have tidied."""
    for left in (board / "state/.new-update.json-0123abcd", board / ".new-current-0123abcd"):
        left.write_bytes(b"{")
    assert recover(board) == 0
    assert not list(board.rglob(".new-*"))
    assert not (board / "state/resume").exists()


def test_an_enrolment_that_was_cut_leaves_nothing_beside_the_launcher(board: Path) -> None:
    (board / "bin").mkdir()
    (board / "bin/.new-launch.py-0123abcd").write_bytes(b"im")
    assert recover(board) == 0
    assert not list(board.rglob(".new-*"))


def test_a_rotation_that_was_cut_leaves_nothing_beside_the_roots(board: Path) -> None:
    roots = board / "state/tuf/root_history"
    roots.mkdir(parents=True)
    (roots / ".new-2.root.json-0123abcd").write_bytes(b"{")
    assert apply(board) == 0
    assert not list(board.rglob(".new-*"))


class Full(Files):
    """A disk without room."""

    def write(self, path: Path, chunks: Iterable[bytes], *, mode: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_what_was_on_trial_is_not_served_after_a_cut_on_a_full_disk(board: Path) -> None:
    assert recover(board) == 0
    (board / "trial").symlink_to("generations/2")
    with pytest.raises(BoardDiskFull):
        recover(board, files=Full())
    assert not (board / "trial").is_symlink()
