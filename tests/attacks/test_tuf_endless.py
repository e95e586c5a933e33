"""Endless data, extraneous files, and senders that never come to an end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.contract.codec import digest, encode
from agent.contract.release import Release
from agent.contract.targets import bundle_target, desired_target, release_target
from agent.update.verify import MAX_METADATA_BYTES
from tests.attacks.stolen import BIN, LEAF_FIRST, Books
from tests.attacks.victims import Victim
from tests.update.bundles import PROFILE, make_bundle
from tests.update.world import DEVICE, ROOT, wait_until

GIB = 1 << 30
METADATA = ("2.root.json", "timestamp.json", ".snapshot.json", ".targets.json", ".desired.json", "bin")
KINDS = (*METADATA, "desired/", "runtimes/", "bundles/", "releases/", "blobs/")
TOO_LONG = ("artifact.signature-invalid", "artifact.size-mismatch")
LITTLE_BYTES = 2_000_000
"""What an update that is refused writes at most: state, reports, and no more of a blob than was promised."""


@contextmanager
def little_is_written() -> Iterator[None]:
    """That this process writes and reads little, to files of any name or of none."""

    def counted(what: str) -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(what)).split()[1])

    before = counted("wchar"), counted("rchar")
    yield
    assert counted("wchar") - before[0] < LITTLE_BYTES
    assert counted("rchar") - before[1] < 2 * MAX_METADATA_BYTES


def longer_by_a_byte(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" ")


def longer_by_a_gibibyte(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + GIB)


@pytest.fixture
def asked(victim: Victim) -> Victim:
    """A push of something that is not on the board yet: of every kind there is a file in the inbox."""
    victim.fleet.repository.assign(victim.fleet.desired(2, victim.better))
    victim.board.fill_inbox()
    books = Books.of_fleet(victim.fleet, victim.keys)
    with books.next_root():
        pass
    books.sign(*LEAF_FIRST).put(victim.board)
    return victim


def found(victim: Victim, kind: str) -> Path:
    """The file of the inbox that the update process would read of this kind."""
    if kind == "bin":
        kind = "desired-bin-"
    files = [
        path
        for path in victim.inbox.rglob("*")
        if path.is_file() and kind in str(path.relative_to(victim.inbox))
    ]
    if kind == ".desired.json":
        files = [path for path in files if path.name.endswith(kind)]
    if kind == "blobs/":
        return max(files, key=lambda path: path.stat().st_size)
    if kind == "releases/":
        return next(path for path in files if path.name.endswith(f"{victim.better.version}.json"))
    if kind == "timestamp.json":
        return victim.inbox / "metadata/timestamp.json"
    return max(files, key=lambda path: path.name.split(".")[0].zfill(80) if kind in METADATA else path.name)


@pytest.mark.parametrize("longer", [longer_by_a_byte, longer_by_a_gibibyte])
def test_a_file_that_is_longer_than_was_promised_is_refused_and_fills_nothing(
    asked: Victim, longer: Callable[[Path], None]
) -> None:
    for kind in KINDS:
        path = found(asked, kind)
        kept = path.read_bytes()
        longer(path)
        if kind in ("timestamp.json", "2.root.json") and longer is longer_by_a_byte:
            path.write_bytes(
                kept + bytes(512_001)
            )  # nobody promises their lengths: a blank behind them is no lie
        (asked.inbox / "request").write_text(kind)
        with little_is_written():
            asked.refused(TOO_LONG)
        path.write_bytes(kept)
    longer(found(asked, "blobs/"))
    (asked.inbox / "request").write_text("the real process")
    asked.refused(TOO_LONG, really=True)


def test_a_length_that_a_stolen_key_promised_is_not_believed(asked: Victim) -> None:
    """Timestamp and snapshot name lengths: a file of a gibibyte is read no further than an honest one is long."""
    for number, role in enumerate(("snapshot", *LEAF_FIRST)):
        books = Books.of_fleet(asked.fleet, asked.keys)
        for each in books.of:
            books.signed(each).version += 10 * (number + 1)
        books.sign(*LEAF_FIRST)
        snapshot = books.signed("snapshot")
        meta = snapshot.meta.get(f"{books.name(role)}.json") or books.signed("timestamp").snapshot_meta
        meta.length, meta.hashes = 1 << 40, None
        if role != "snapshot":
            books.sign_one("snapshot", bump=False)
        books.sign_one("timestamp", bump=False)
        books.put(asked.board, request=role)
        path = asked.inbox / "metadata" / f"{books.signed(role).version}.{books.name(role)}.json"
        longer_by_a_gibibyte(path)
        with little_is_written():
            report = asked.refused("artifact.signature-invalid")
        assert str(MAX_METADATA_BYTES) in str(report.message)


def test_a_desired_state_of_a_tebibyte_is_not_read(asked: Victim) -> None:
    books = Books.of_fleet(asked.fleet, asked.keys)
    target = books.target(BIN, desired_target(DEVICE), encode(asked.same(2)))
    target.length = 1 << 40
    books.sign(*LEAF_FIRST)
    books.sign(BIN).put(asked.board)
    for path in (asked.inbox / "targets/desired").iterdir():
        longer_by_a_gibibyte(path)
    with little_is_written():
        asked.refused("document.invalid")


# --- extraneous files ------------------------------------------------------------------------------------------


def test_files_that_nothing_names_are_never_copied(victim: Victim) -> None:
    victim.fleet.repository.assign(victim.fleet.desired(2, victim.better))
    victim.board.push()
    extraneous = b"nobody asked for this"
    for name in (f"blobs/{digest(extraneous)}", "blobs/evil.py", "blobs/deep/er/evil.py", "metadata/evil.json",
                 "metadata/99.targets.json", "targets/bundles/evil.json", "evil/evil.py", "evil.py"):  # fmt: skip
        path = victim.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(extraneous)
    victim.board.supervise()
    try:
        wait_until(lambda: victim.board.link("current") == 2, "it is confirmed")
    finally:
        victim.board.stop()
    for folder in ("objects", "generations", "bin", "state"):
        for path in (victim.board.root / folder).rglob("*"):
            assert not path.is_file() or extraneous not in path.read_bytes(), path
    (bundle,) = victim.better.bundles.values()
    there = {path.name for path in (victim.board.root / "objects" / bundle).iterdir()}
    assert there == {"model.tflite", "golden.npz", "report.json", "manifest.json"}


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "../evil", "/etc/evil", "a/../../evil"])
def test_a_manifest_that_names_what_is_not_its_own_is_refused_whoever_published_it(
    victim: Victim, name: str
) -> None:
    """With the key of `targets` stolen too: its own manifest again, a file twice, paths that lead out."""
    made = make_bundle(victim.fleet.work / "made", behaviour="good")
    document = json.loads(made.manifest_bytes)
    document["files"].append({**document["files"][0], "path": name})
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    for entry in made.manifest.files:
        (victim.inbox / "blobs").mkdir(exist_ok=True)
        (victim.inbox / "blobs" / entry.sha256).write_bytes((made.folder / entry.path).read_bytes())
    books = victim.pushed(2)
    release = Release("digits", 70, {PROFILE: digest(data)})
    books.target("targets", bundle_target(digest(data)), data)
    books.target("targets", release_target("digits", 70), encode(release))
    state = victim.fleet.desired(2, release)
    for path in (victim.fleet.folder.repository / "targets/runtimes").iterdir():
        books.documents[f"runtimes/{path.name}"] = path.read_bytes()
    books.assign(state)
    books.sign(BIN, "targets").put(victim.board)
    victim.refused("document.invalid")
    assert not list(victim.board.root.parent.rglob("evil"))


# --- senders without an end ------------------------------------------------------------------------------------


def receiver(inbox: Path, *, silence_s: float) -> subprocess.Popen[bytes]:
    """The board's end of an upload, as the laptop's SSH starts it."""
    process = subprocess.Popen(
        [sys.executable, "-I", str(ROOT / "edge/fleet/onboard/receive.py")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    item = {"name": "blobs/endless", "size": 1_000_000, "sha256": "0" * 64, "offset": 0, "last": False}
    request = {"inbox": str(inbox), "silence_s": silence_s, "files": [item]}
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return process


@pytest.mark.parametrize("pause_s", [0.05, None], ids=["a byte now and then", "nothing at all"])
def test_a_sender_that_never_ends_keeps_no_process_on_the_board(
    tmp_path: Path, pause_s: float | None
) -> None:
    process = receiver(tmp_path, silence_s=1.0)
    assert process.stdin is not None
    began = time.monotonic()
    sent = 0
    try:
        while process.poll() is None and time.monotonic() - began < 20:
            if pause_s is not None:
                with open(process.stdin.fileno(), "wb", buffering=0, closefd=False) as pipe:
                    try:
                        sent += pipe.write(b"x")
                    except BrokenPipeError:
                        break
            time.sleep(pause_s or 0.05)
        assert process.wait(5) != 0
    finally:
        process.kill()
        process.communicate()
    part = tmp_path / "blobs/endless.part"
    assert part.stat().st_size <= sent, "what came stays, and the next push goes on with it"
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_a_pipe_that_somebody_holds_open_is_not_waited_for(victim: Victim) -> None:
    books = victim.pushed(2)
    path = victim.inbox / "metadata/timestamp.json"
    path.unlink()
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        began = time.monotonic()
        victim.refused("update.inbox-unsafe", really=True)
        assert time.monotonic() - began < 30
    finally:
        os.close(writer)
        path.unlink()
    books.put(victim.board)
    victim.accepted(2)
