"""The link's file on the board, through real sshd: what it says, who is ended for it, and who is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.codec import decode
from agent.contract.errors import KeyUnreadable, LinkNotReady
from agent.contract.link import LinkConfig
from edge.certificates import CertificateAuthority
from edge.fleet.connection import Board
from edge.fleet.link import LinkWritten, write_link
from edge.fleet.onboard import script
from edge.fleet.reverse import ReverseForward
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open

COLLECTOR = "c-00000000000000aa"
DEVICE = "b-00000000000000bb"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("keys"))


class Folder:
    """edge's folder on a bed, as enrolment leaves it."""

    def __init__(self, bed: SshdBoard) -> None:
        self.path = bed.home / ".edge"
        self.root = "~/.edge"
        self._bed = bed
        (self.path / "link").mkdir(parents=True)
        self.new_key()

    def new_key(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        (self.path / "mqtt.pub").write_bytes(public)
        self.public_key = public.decode()
        self._bed.give(self.path)

    @property
    def file(self) -> Path:
        return self.path / "link" / "link.json"

    @property
    def link(self) -> LinkConfig:
        return decode(LinkConfig, self.file.read_bytes())


@pytest.fixture
def folder(bed: SshdBoard) -> Iterator[Folder]:
    made = Folder(bed)
    yield made
    subprocess.run(["rm", "-rf", str(made.path)], check=True)


def write(
    board: Board, folder: Folder, authority: CertificateAuthority, port: int, *, tunnel: bool = True
) -> LinkWritten:
    link = LinkConfig(collector=COLLECTOR, url=f"mqtts://127.0.0.1:{port}", certificate="", ca="CA")
    return write_link(board, folder.root, link, device_id=DEVICE, authority=authority, tunnel=tunnel)


def test_the_board_gets_a_certificate_for_its_own_key(
    open_board: Open, folder: Folder, authority: CertificateAuthority
) -> None:
    done = write(open_board(), folder, authority, 1234)
    link = folder.link
    assert done.written
    assert (link.collector, link.url, link.ca) == (COLLECTOR, "mqtts://127.0.0.1:1234", "CA")
    certificate = x509.load_pem_x509_certificate(link.certificate.encode())
    key = certificate.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    assert key.decode() == folder.public_key
    assert certificate.subject.rfc4514_string() == f"CN={DEVICE}"
    assert folder.file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in folder.file.parent.iterdir()] == ["link.json"]


def test_what_did_not_change_is_not_written(
    open_board: Open, folder: Folder, authority: CertificateAuthority
) -> None:
    write(open_board(), folder, authority, 1234, tunnel=False)
    before = folder.file.stat()
    assert not write(open_board(), folder, authority, 1234, tunnel=False).written
    assert folder.file.stat().st_mtime_ns == before.st_mtime_ns
    assert folder.link.session is None
    assert write(open_board(), folder, authority, 1235, tunnel=False).written


def test_a_new_key_gets_a_new_certificate_and_an_old_one_keeps_its_own(
    open_board: Open, folder: Folder, authority: CertificateAuthority, tmp_path: Path
) -> None:
    board = open_board()
    first = write(board, folder, authority, 1).link.certificate
    assert write(board, folder, authority, 2).link.certificate == first
    folder.new_key()
    second = write(board, folder, authority, 3).link.certificate
    assert second != first
    assert write(board, folder, CertificateAuthority(tmp_path), 4).link.certificate != second


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"session": true, "url": 7}'])
def test_a_damaged_link_is_replaced(
    open_board: Open, folder: Folder, authority: CertificateAuthority, damage: bytes
) -> None:
    folder.file.write_bytes(damage)
    assert write(open_board(), folder, authority, 1).written
    assert folder.link.url == "mqtts://127.0.0.1:1"


def test_a_link_laid_there_leads_nowhere(
    open_board: Open, folder: Folder, authority: CertificateAuthority, bed: SshdBoard
) -> None:
    other = bed.home / "other"
    other.write_text("untouched")
    folder.file.symlink_to(other)
    write(open_board(), folder, authority, 1)
    assert other.read_text() == "untouched"
    assert not folder.file.is_symlink()


def test_a_board_without_key_or_folder_is_not_ready(
    open_board: Open, folder: Folder, authority: CertificateAuthority
) -> None:
    board = open_board()
    (folder.path / "mqtt.pub").write_text("no key")
    with pytest.raises(KeyUnreadable, match=r"mqtt\.pub"):
        write(board, folder, authority, 1)
    (folder.path / "mqtt.pub").unlink()
    with pytest.raises(LinkNotReady):
        write(board, folder, authority, 1)
    folder.new_key()
    (folder.path / "link").rmdir()
    with pytest.raises(LinkNotReady):
        write(board, folder, authority, 1)


def listened(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_session_that_holds_an_old_port_is_ended(
    open_board: Open, folder: Folder, authority: CertificateAuthority
) -> None:
    left, now = open_board(), open_board()
    old, new = ReverseForward(left, lambda: None), ReverseForward(now, lambda: None)
    write(left, folder, authority, old.remote_port)
    session = folder.link.session
    assert session is not None
    done = write(now, folder, authority, new.remote_port)
    assert done.ended == session
    assert folder.link.session not in (None, session)
    assert not listened(old.remote_port)
    assert listened(new.remote_port)
    assert now.run(["true"]).status == 0


def test_a_session_that_stands_still_is_ended_too(
    open_board: Open, folder: Folder, authority: CertificateAuthority, bed: SshdBoard
) -> None:
    left, now = open_board(), open_board()
    old = ReverseForward(left, lambda: None)
    write(left, folder, authority, old.remote_port)
    stopped = now.run(["kill", "-STOP", str(folder.link.session)])
    assert stopped.status == 0
    assert write(now, folder, authority, 1).ended is not None
    assert not listened(old.remote_port)


def test_nobody_else_is_ended(open_board: Open, folder: Folder, authority: CertificateAuthority) -> None:
    """A number may be another process's by now: only an sshd session of this user that holds the port is ended."""
    board, other = open_board(), open_board()
    holder = ReverseForward(board, lambda: None)
    write(board, folder, authority, holder.remote_port)
    link = json.loads(folder.file.read_text())
    started = other.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])
    sleeper = int(started.stdout)
    quiet = {**link, "url": "mqtts://127.0.0.1:1"}
    for claim in (
        {**link, "session": sleeper},  # no sshd
        {**link, "session": 1},
        {**link, "session": os.getpid()},
        {**link, "session": "x"},
        quiet,  # an sshd session, but nobody listens there any more
    ):
        folder.file.write_text(json.dumps(claim))
        assert write(other, folder, authority, 2).ended is None
    assert board.run(["true"]).status == 0
    assert other.run(["kill", str(sleeper)]).status == 0


def test_the_script_runs_where_there_is_no_sshd(tmp_path: Path) -> None:
    """As on a simulated board: no session, and still everything else."""
    (tmp_path / "link").mkdir()
    (tmp_path / "mqtt.pub").write_text("key")
    request = {"root": str(tmp_path), "link": {"url": "mqtts://127.0.0.1:5"}, "tunnel": True}
    done = subprocess.run(
        [sys.executable, "-I", "-c", script("link")],
        input=json.dumps(request).encode() + b"\n",
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    answer = json.loads(done.stdout.partition(b"\x1e")[2])
    assert (answer["written"], answer["ended"], answer["public_key"]) == (True, None, "key")
    assert json.loads((tmp_path / "link" / "link.json").read_text())["session"] is None
