"""A pushing user who changes the inbox while root reads it: nothing outside is read, written, or becomes an object."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import EdgeError
from agent.update import commands
from agent.update.folder import UpdateFolder
from agent.update.inbox import BLOBS, Inbox
from agent.update.objects import ObjectStore
from edge.repository import new_nonce
from tests.attacks.strangers import PUSHER, meanwhile, needs_root, open_folder
from tests.update.bundles import Bundle, make_bundle
from tests.update.world import Board, Fleet, Quiet, copied_fleet

pytestmark = needs_root

SECRET = b"the secret of somebody else\n"
SWAP = """
import contextlib, os, shutil, sys
inbox, secret, gentle = sys.argv[1:]
os.chdir(inbox)
kept = "../kept"
files = [os.path.relpath(os.path.join(folder, name), kept) for folder, _, names in os.walk(kept) for name in names]
folders = ("blobs", "metadata", "targets")

def clear(path):
    with contextlib.suppress(OSError):
        os.unlink(path)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)

def folder(path):
    os.mkdir(path)
    open(path + "/inside", "w").close()

def other(path):
    with open(path, "wb") as file:
        file.write(b"x" * os.stat(os.path.join(kept, path)).st_size)

def right(path):
    shutil.copyfile(os.path.join(kept, path), path + ".new")
    os.rename(path + ".new", path)

ways = (lambda path: os.symlink(secret, path), lambda path: os.link(secret, path), os.mkfifo, folder, other, right,
        right)
ways += (right,) * (40 if gentle == "True" else 0)
print("begun", flush=True)
turn = 0
while True:
    for path in [*files, "request", "request.taken"]:
        turn += 1
        with contextlib.suppress(OSError):
            clear(path)
            (ways[turn % len(ways)] if path in files else ways[turn % 4])(path)
    for path in folders if gentle == "False" else ():
        with contextlib.suppress(OSError):
            os.rename(path, path + ".away")
            os.symlink(os.path.dirname(secret), path)
            os.unlink(path)
            os.rename(path + ".away", path)
"""


@pytest.fixture
def board(made_once: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board whose inbox is another user's."""
    with open_folder() as place:
        fleet = copied_fleet(made_once, place / "laptop")
        board = Board(place / "board", fleet, made_once.work / "placed")
        monkeypatch.setenv("EDGE_SIM", "1")
        monkeypatch.setenv("EDGE_SIM_SERIAL_FILE", str(board.root / "serial"))
        yield board


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of root's that others may read, but not what root would tell of it; nobody may write it."""
    with open_folder() as place:
        path = place / "secret"
        path.write_bytes(SECRET)
        yield path
        assert path.read_bytes() == SECRET
        assert [entry.name for entry in place.iterdir()] == ["secret"]
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o644)


def give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, PUSHER, PUSHER, follow_symlinks=False)


def pushed(board: Board) -> None:
    """What a push brings, and a copy of it that the attack restores from."""
    board.push()
    kept = board.root / "kept"
    for source in sorted((board.root / "inbox").rglob("*")):
        if source.is_file() and source.name != "request":
            copy = kept / source.relative_to(board.root / "inbox")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    give(board.root / "inbox")
    give(kept)


def test_swaps_while_the_update_process_looks_change_nothing_but_its_answer(
    board: Board, secret: Path
) -> None:
    board.assign(1, board.fleet.publish("check-fails"))
    pushed(board)
    seen, rounds, end = set(), 0, time.monotonic() + 3.0
    with meanwhile(SWAP, board.root / "inbox", secret, False, user=PUSHER):
        while time.monotonic() < end:
            with contextlib.suppress(EdgeError):
                commands.apply(board.root, service=Quiet())
            rounds += 1
            if not (board.root / "state/reported.json").exists():
                continue  # what it met before its first report ended it: the next round reports
            seen.add(board.report.code)
            objects_are_whole(board)
            said = (board.root / "state/reported.json").read_text() + str(board.record)
            assert SECRET.decode().strip() not in said
            assert hashlib.sha256(SECRET).hexdigest() not in said
    print(f"{rounds} rounds: {seen}")
    assert rounds > 3
    assert "update.inbox-unsafe" in seen, seen
    assert board.link("current") is None


def objects_are_whole(board: Board) -> None:
    store = ObjectStore(UpdateFolder(board.root), Inbox(board.root / "inbox"))
    for digest in store.digests():
        if (board.root / "objects" / digest / "golden.npz").exists():
            store.verify_bundle(digest)


def test_what_becomes_an_object_was_hashed_and_not_what_lies_there_afterwards(
    board: Board, secret: Path, tmp_path: Path
) -> None:
    bundle: Bundle = make_bundle(tmp_path / "bundle", behaviour="good")
    store = ObjectStore(UpdateFolder(board.root), Inbox(board.root / "inbox"))
    for entry in bundle.manifest.files:
        path = board.root / "kept" / BLOBS / entry.sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((bundle.folder / entry.path).read_bytes())
    give(board.root / "kept")
    give(board.root / "inbox")
    refused = taken = 0
    end = time.monotonic() + 30.0
    with meanwhile(SWAP, board.root / "inbox", secret, True, user=PUSHER):
        while time.monotonic() < end and (refused <= 20 or not taken):
            try:
                store.put_bundle(bundle.digest, bundle.manifest_bytes, bundle.manifest)
            except EdgeError:
                refused += 1
                assert not store.has(bundle.digest)
                continue
            taken += 1
            store.verify_bundle(bundle.digest)
            store.remove(bundle.digest)
    print(f"{refused} refused, {taken} taken")
    assert refused > 20
    assert taken


LAID = {
    "a folder": lambda path, _: (path.mkdir(), (path / "x").touch()),
    "a link": lambda path, key: path.symlink_to(key),
    "a hard link": lambda path, key: os.link(key, path),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a long text": lambda path, _: path.write_bytes(b"x" * 100_000),
    "control characters": lambda path, _: path.write_bytes(b"\x1b[2J\x00\xff\n"),
}


def test_a_request_that_is_anything_is_answered_and_tells_nothing(board: Board) -> None:
    commands.recover(board.root, service=Quiet())
    key = board.root / "state/device.key"
    board.assign(1, board.fleet.publish("good"))
    pushed(board)
    for blob in (board.root / "inbox/blobs").iterdir():
        blob.unlink()  # so that each answer is a quick one
    for what, names in (
        (what, names) for what in LAID for names in (["request"], ["request", "request.taken"])
    ):
        for name in names:
            path = board.root / "inbox" / name
            path.unlink(missing_ok=True)
            LAID[what](path, key)
            if what != "a hard link":
                give(path)
        assert commands.apply(board.root, service=Quiet()) == 4, what
        assert not [name for name in names if os.path.lexists(board.root / "inbox" / name)], what
        assert "PRIVATE" not in (board.root / "state/reported.json").read_text(), what
        assert (board.report.request or "").isprintable(), what
        assert len(board.report.request or "") <= 256, what
        assert key.stat().st_uid == 0
        (board.root / "inbox/request").write_text(asked := new_nonce())
        give(board.root / "inbox/request")
        assert commands.apply(board.root, service=Quiet()) == 4, what
        assert board.report.request == asked, what


def test_a_blob_that_is_a_hard_link_to_somebody_elses_file_is_not_read(board: Board, secret: Path) -> None:
    board.assign(1, board.fleet.publish("good"))
    pushed(board)
    for blob in (board.root / "inbox/blobs").iterdir():
        blob.unlink()
        os.link(secret, blob)
    commands.apply(board.root, service=Quiet())
    assert board.report.code == "update.inbox-unsafe"
    assert hashlib.sha256(SECRET).hexdigest() not in str(board.report)
    assert list((board.root / "inbox/blobs").iterdir()) == [], "the next push sends it all again"
