"""What a wipe that was cut short leaves beside the folder is removed by the next one, and nothing else."""

from __future__ import annotations

from pathlib import Path

from agent.update.files import DISK, leftovers_of
from edge.fleet.onboard import clear


def test_what_a_wipe_that_was_cut_left_beside_the_folder_is_cleared(tmp_path: Path) -> None:
    root, left = tmp_path / "edge", tmp_path / ".new-edge-0123abcd"
    sealed = left / "objects" / "digest"
    sealed.mkdir(parents=True)
    (sealed / "model").write_bytes(b"x")
    DISK.seal(left / "objects")
    (left / "further").symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs").mkdir(mode=0o755)
    others = [".new-edge", ".new-edge-0123abcd-more", ".new-other-0123abcd", "edge-0123abcd"]
    for name in others:
        (tmp_path / name).mkdir()
    assert leftovers_of(root) == [left]
    assert clear.main({"root": str(root)}) == {"left": False}
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755, "no link is followed"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "theirs"])


def test_a_folder_that_was_enrolled_is_not_cleared(tmp_path: Path) -> None:
    root = tmp_path / "edge"
    (root / "inbox").mkdir(parents=True)
    (root / "state").mkdir()
    assert clear.main({"root": str(root)}) == {"left": True}
    (root / "state").rmdir()
    assert clear.main({"root": str(root) + "/"}) == {"left": False}
