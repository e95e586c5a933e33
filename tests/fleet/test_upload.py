from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.contract.errors import ConnectionLost, DeadlinePassed, DigestMismatch, FileMissing, RemoteDiskFull
from edge.config import FleetFolder
from edge.fleet.connection import Board
from edge.fleet.upload import Upload, blob, document, upload
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open, inbox_files, pinned

SIZE = 24_000_000
ROOT = "~/.edge"


class Watched:
    """Remembers how far a transfer was, and does something once when the board has so many bytes."""

    def __init__(self, at_bytes: int = 0, act: Callable[[], object] | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self._at_bytes = at_bytes
        self._act = act

    def step(self, text: str) -> None: ...

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        self.seen.append((done_bytes, total_bytes))
        if self._act is not None and done_bytes >= self._at_bytes:
            self._act()
            self._act = None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "layer"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def inbox(bed: SshdBoard, open_board: Open) -> Iterator[Path]:
    """The inbox as this machine sees it, new for each test."""
    open_board().run(["mkdir", "-p", ".edge/inbox"])
    yield bed.home / ".edge" / "inbox"
    open_board().run(["rm", "-rf", ".edge"])


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_arrive_whole_and_are_sent_once(open_board: Open, inbox: Path, file: Path) -> None:
    board, watched = open_board(), Watched()
    uploads = [
        document("request", b"7", last=True),
        blob(sha(file), file),
        document("targets/desired/x.json", b"{}"),
    ]
    sent = upload(board, ROOT, uploads, what="it", progress=watched)
    assert sent.sent_bytes == SIZE + 3
    assert sha(inbox / "blobs" / sha(file)) == sha(file)
    assert inbox_files(inbox) == {f"blobs/{sha(file)}": SIZE, "request": 1, "targets/desired/x.json": 2}
    assert watched.seen[-1] == (SIZE + 3, SIZE + 3)
    assert watched.seen == sorted(watched.seen)
    again = upload(board, ROOT, uploads, what="it")
    assert (again.files, again.sent_bytes) == (("request",), 1)


def test_what_is_in_an_object_of_the_board_is_not_sent(open_board: Open, inbox: Path, file: Path) -> None:
    digest = sha(file)
    (objects := inbox.parent / "objects" / digest).mkdir(parents=True)
    board = open_board()
    assert upload(board, ROOT, [blob(digest, file, inside=(digest,))], what="it").sent_bytes == 0
    two = [blob(digest, file, inside=(digest, "f" * 64))]
    assert upload(board, ROOT, two, what="it").sent_bytes == SIZE
    objects.rmdir()
    objects.parent.rmdir()


def test_an_upload_that_is_cut_at_half_goes_on(open_board: Open, link: Link, inbox: Path, file: Path) -> None:
    link.cut_after(SIZE // 2)
    with pytest.raises(ConnectionLost, match="was lost while sending it"):
        upload(open_board(port=link.port), ROOT, [blob(sha(file), file)], what="it")
    time.sleep(0.2)
    (part,) = inbox_files(inbox).values()
    assert SIZE // 4 < part < SIZE * 3 // 4
    sent = upload(open_board(port=link.port), ROOT, [blob(sha(file), file)], what="it")
    assert sent.resumed_bytes >= part
    assert sent.sent_bytes == SIZE - sent.resumed_bytes
    assert inbox_files(inbox) == {f"blobs/{sha(file)}": SIZE}


def test_a_part_that_was_damaged_is_thrown_away_and_sent_anew(
    open_board: Open, inbox: Path, file: Path
) -> None:
    (inbox / "blobs").mkdir()
    part = inbox / "blobs" / f"{sha(file)}.part"
    part.write_bytes(b"\0" + file.read_bytes()[1 : SIZE // 2])
    os.chown(inbox / "blobs", inbox.stat().st_uid, -1)
    os.chown(part, inbox.stat().st_uid, -1)
    sent = upload(open_board(), ROOT, [blob(sha(file), file)], what="it")
    assert sent.sent_bytes == SIZE // 2 + SIZE
    assert sha(inbox / "blobs" / sha(file)) == sha(file)


def test_a_file_that_is_not_what_it_is_said_to_be_ends_nowhere_and_no_request_is_made(
    open_board: Open, inbox: Path, file: Path
) -> None:
    wrong = "0" * 64
    uploads = [blob(wrong, file), document("request", b"7", last=True)]
    with pytest.raises(DigestMismatch) as refused:
        upload(open_board(), ROOT, uploads, what="it")
    assert (refused.value.facts["expected"], refused.value.facts["found"]) == (wrong, sha(file))
    assert "request" not in inbox_files(inbox)
    assert f"blobs/{wrong}" not in inbox_files(inbox)


def test_a_file_that_is_not_here_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        blob("0" * 64, tmp_path / "gone")


def test_a_link_that_stalls_ends_the_upload_and_the_next_goes_on(
    open_board: Open, link: Link, inbox: Path, file: Path
) -> None:
    link.rate(30_000_000)
    began = []
    stalls = Watched(SIZE // 4, lambda: (began.append(time.monotonic()), link.stall()))
    board = open_board(port=link.port, stall_s=1.0)
    try:
        with pytest.raises(DeadlinePassed, match="did not finish sending it within 1 s"):
            upload(board, ROOT, [blob(sha(file), file)], what="it", progress=stalls)
    finally:
        link.rate(None)
        link.resume()
    assert time.monotonic() - began[0] < 8
    sent = upload(open_board(), ROOT, [blob(sha(file), file)], what="it")
    assert sent.resumed_bytes > 0


def test_an_upload_that_trickles_ends_too_and_the_next_goes_on(
    open_board: Open, link: Link, inbox: Path, file: Path
) -> None:
    link.rate(2_000_000)
    board = open_board(port=link.port, stall_s=1.0, slowest_bytes_s=1e12)
    try:
        with pytest.raises(DeadlinePassed, match="did not finish sending it within 5 s"):
            upload(board, ROOT, [blob(sha(file), file)], what="it")
    finally:
        link.rate(None)
    assert upload(open_board(), ROOT, [blob(sha(file), file)], what="it").resumed_bytes > 0


def test_a_slow_link_is_no_stalled_one(open_board: Open, link: Link, inbox: Path) -> None:
    link.rate(100_000)
    try:
        small = os.urandom(400_000)
        item = document("metadata/slow.json", small)
        assert upload(open_board(port=link.port, stall_s=2.0), ROOT, [item], what="it").seconds > 2.5
    finally:
        link.rate(None)


def test_a_disk_without_room_is_told_before_anything_is_sent(
    open_board: Open, inbox: Path, file: Path
) -> None:
    with pytest.raises(RemoteDiskFull) as full:
        upload(open_board(), ROOT, [blob(sha(file), file)], what="it", spare_bytes=1 << 60)
    assert full.value.facts["needed_bytes"] > 1 << 60
    assert inbox_files(inbox) == {}


def test_a_disk_that_fills_up_meanwhile_is_told_and_the_next_upload_goes_on(
    open_board: Open, bed: SshdBoard, inbox: Path, file: Path
) -> None:
    if not bed.isolated:
        pytest.skip("a small file system can be laid by root only")
    (inbox / "blobs").mkdir()
    os.chown(inbox / "blobs", inbox.stat().st_uid, -1)
    try:
        assert _enter(bed, ["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", _inside(bed)]) == 0
        with pytest.raises(RemoteDiskFull) as full:
            upload(open_board(), ROOT, [blob(sha(file), file)], what="it")
        assert full.value.facts["path"].endswith("/inbox/blobs")
        assert full.value.facts["free_bytes"] < 1_000_000
    finally:
        _enter(bed, ["umount", _inside(bed)])
    assert upload(open_board(), ROOT, [blob(sha(file), file)], what="it").sent_bytes == SIZE


def test_ctrl_c_in_an_upload_leaves_a_part_that_the_next_goes_on_with(
    open_board: Open, link: Link, inbox: Path, file: Path, fleet: FleetFolder, bed: SshdBoard
) -> None:
    link.rate(10_000_000)
    address = pinned(bed.board, port=link.port)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from edge.config import FleetFolder\nfrom edge.fleet.address import Address\n"
        "from edge.fleet.connection import connect\nfrom edge.fleet.upload import blob, upload\n"
        "class Told:\n"
        "    def step(self, text): ...\n"
        "    def transfer(self, what, done, total):\n"
        "        if done > total // 4: print('under way', flush=True)\n"
        "fleet, host, port, user, key, sha, path = sys.argv[1:]\n"
        "address = Address(host=host, port=int(port), user=user, host_key=key, name='board')\n"
        "try:\n"
        "    with connect(address, fleet=FleetFolder.open(Path(fleet))) as board:\n"
        f"        upload(board, '{ROOT}', [blob(sha, Path(path))], what='it', progress=Told())\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    argv = [
        str(fleet.path),
        address.host,
        str(link.port),
        address.user,
        address.host_key,
        sha(file),
        str(file),
    ]
    child = subprocess.Popen([sys.executable, "-c", script, *argv], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"under way\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    finally:
        child.kill()
        link.rate(None)
    time.sleep(0.3)
    assert list(inbox_files(inbox)) == [f"blobs/{sha(file)}.part"]
    assert upload(open_board(), ROOT, [blob(sha(file), file)], what="it").resumed_bytes > 0


def test_the_board_waits_for_a_laptop_that_is_gone_no_longer_than_it_must(
    open_board: Open, link: Link, inbox: Path, bed: SshdBoard
) -> None:
    board = open_board(port=link.port, stall_s=0.5)  # the board waits four times that
    held: list[Upload] = [document("metadata/held.json", os.urandom(6_000_000))]
    link.rate(5_000_000)
    try:
        with pytest.raises(DeadlinePassed):
            upload(board, ROOT, held, what="it", progress=Watched(1_000_000, link.stall))
        deadline = time.monotonic() + 40
        while _receivers(open_board()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert _receivers(open_board()) == 0
    finally:
        link.rate(None)
        link.resume()


def _receivers(board: Board) -> int:
    said = board.run(["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"]).stdout.decode()
    return said.count("exec(compile(b.read(int(b.readline()))")


def _inside(bed: SshdBoard) -> str:
    return f"/home/{bed.board.user}/.edge/inbox/blobs"


def _enter(bed: SshdBoard, argv: list[str]) -> int:
    """Run a program as root of the board, in its namespaces."""
    from tests.beds.board import children

    assert bed._server is not None
    (first,) = children(bed._server.pid)
    return subprocess.run(["nsenter", "-t", str(first), "-m", "-p", *argv]).returncode
