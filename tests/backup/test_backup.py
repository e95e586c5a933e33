"""A fleet folder goes into one sealed file, and comes back: into an empty folder, and over a damaged one."""

from __future__ import annotations

import io
import itertools
import os
import secrets
import shutil
import signal
import stat
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agent.contract.codec import encode
from agent.contract.errors import (
    BackupBeyondMachine,
    BackupDamaged,
    BackupExists,
    BackupLocked,
    BackupMissing,
    EdgeError,
    FleetFolderBusy,
    FleetFolderMissing,
    OptionInvalid,
)
from edge.backup import archive as archives
from edge.backup.archive import INDEX, Backup, BackupIndex, open_backup, packed, unpacked, write_backup
from edge.backup.restoring import ASIDE, STAGING, SWAPPED, check, put_in_place, restore
from edge.certificates import CertificateAuthority
from edge.collector.records import enrolled_id, make_folder
from edge.config import FleetFolder, lock
from edge.identity import KeyRing, SshKey, short
from edge.inventory import Device, Inventory
from edge.repository import Repository
from tests.repository.cut import kill_before
from tests.repository.fleet import Fleet, passphrase

WORD = "a passphrase of the backup's own"


@pytest.fixture
def full(fleet: Fleet) -> Fleet:
    """With a board, an assignment, the SSH key, the authority of certificates, and a collector's id."""
    device = Device(name="pi", device_id="b-1", host="pi.local", user="pi", host_key="x", fingerprint="y")
    Inventory(fleet.folder).add(device)
    fleet.repository.assign(fleet.desired("b-1"))
    _ = SshKey(fleet.folder.keys).current
    _ = CertificateAuthority(fleet.folder.keys).certificate
    make_folder(fleet.folder)
    enrolled_id(fleet.folder)
    (fleet.folder.path / "model.h5").write_text("of the user")
    return fleet


@pytest.fixture
def file(full: Fleet, tmp_path: Path) -> Path:
    write_backup(full.folder, tmp_path / "b.edge", WORD, with_blobs=False)
    return tmp_path / "b.edge"


@pytest.fixture
def backup(full: Fleet, tmp_path: Path) -> Backup:
    """Opened, and never sealed: that costs seconds, and is looked at by itself."""
    path = tmp_path / "b.edge"
    return unpacked(path, packed(full.folder, path, with_blobs=False)[1])


def contents(folder: Path) -> dict[str, bytes]:
    """What a backup is about, in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in SWAPPED
        for path in ([folder / part] if (folder / part).is_file() else sorted((folder / part).rglob("*")))
        if path.is_file() and path.name != ".lock" and not path.is_relative_to(folder / "repository/blobs")
    }


def blobs(folder: Path) -> set[str]:
    return {path.name for path in (folder / "repository/blobs").iterdir()}


def test_a_backup_comes_back_into_an_empty_folder(full: Fleet, file: Path, tmp_path: Path) -> None:
    backup = open_backup(file, WORD)
    index = backup.index
    assert check(backup).missing == ("digits@1",)
    assert (index.fleet, index.devices, index.releases) == (full.folder.config.fleet, 1, 1)
    restored = restore(backup, tmp_path / "anew")
    assert contents(restored.folder.path) == contents(full.folder.path)
    assert (restored.aside, restored.missing) == (None, ("digits@1",))
    assert KeyRing(restored.folder.keys).exposed() == ()
    assert enrolled_id(restored.folder) == enrolled_id(full.folder)
    repository = Repository(restored.folder.repository, KeyRing(restored.folder.keys), passphrase)
    repository.publish("digits", [full.bundle("next", weights=b"next")])
    assert [release.title for release in repository.releases()] == ["digits@1", "digits@2"]
    assert not list(restored.folder.path.glob(f"{STAGING}*"))


def test_bundles_come_along_when_they_are_asked_for(full: Fleet, tmp_path: Path) -> None:
    index = write_backup(full.folder, tmp_path / "b", WORD, with_blobs=True)
    assert index.bundles
    backup = open_backup(tmp_path / "b", WORD)
    assert (backup.index, check(backup).missing) == (index, ())
    restored = restore(backup, tmp_path / "anew")
    assert restored.missing == ()
    assert restored.folder.path.joinpath("repository/blobs").is_dir()
    Repository(restored.folder.repository, KeyRing(restored.folder.keys)).push_set("b-1")


def test_no_private_key_can_be_read_in_it(full: Fleet, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = file.read_bytes()
    private = [path for path in full.folder.keys.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in private} >= {"desired.key", "ssh", "mqtt-ca.key"}
    for path in private:
        assert path.read_bytes()[40:100] not in data
    assert b"PRIVATE KEY" not in data


def test_it_is_never_written_over(full: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "b.edge"
    file.write_text("an earlier one")
    with pytest.raises(BackupExists):
        write_backup(full.folder, file, WORD, with_blobs=False)
    assert file.read_text() == "an earlier one"
    assert sorted(path.name for path in file.parent.iterdir()) == ["b.edge", "fleet"]


def test_a_backup_that_is_not_good_is_not_opened(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    bad = tmp_path / "bad"

    def refused(error: type[EdgeError], changed: bytes, word: str = WORD) -> None:
        bad.write_bytes(changed)
        with pytest.raises(error):
            open_backup(bad, word)

    refused(BackupLocked, data, "another")
    refused(BackupDamaged, data[: len(data) // 2])
    refused(BackupDamaged, b"")
    with pytest.raises(BackupMissing):
        open_backup(tmp_path / "none", WORD)
    with pytest.raises(BackupMissing):
        open_backup(tmp_path, WORD)


def test_one_that_memory_does_not_hold_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(1 << 42)
    with pytest.raises(BackupBeyondMachine):
        open_backup(tmp_path / "large", WORD)


def test_it_can_be_read_by_its_owner_alone_from_the_first_byte_on_and_is_never_plain(
    full: Fleet, tmp_path: Path
) -> None:
    """Killed before each change of a file on the drive, the process leaves what an attacker would find."""
    place = tmp_path / "place"
    for point in itertools.count(1):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        cut = killed(point, place, lambda: write_backup(full.folder, place / "b", WORD, with_blobs=False))
        for left in place.iterdir():
            assert stat.S_IMODE(left.stat().st_mode) == 0o600
            assert left.read_bytes()[:22] in (b"", b"age-encryption.org/v1\n")
        if not cut:
            break
    assert point > 2


def test_over_a_damaged_folder_what_was_there_is_kept(full: Fleet, backup: Backup) -> None:
    folder = full.folder.path
    before = contents(folder)
    (folder / "edge.toml").write_text("nonsense")
    (folder / "keys/desired.key").unlink()
    (folder / "repository/metadata/timestamp.json").write_bytes(b"{")
    (folder / "devices/pi.json").write_bytes(b"")
    with lock(folder / "telemetry", file="collector.lock"), pytest.raises(FleetFolderBusy):
        restore(backup, folder)
    restored = restore(backup, folder)
    assert contents(folder) == before
    assert restored.aside is not None
    assert (restored.aside / "edge.toml").read_text() == "nonsense"
    assert stat.S_IMODE(restored.aside.stat().st_mode) == 0o700
    assert (restored.aside / "keys/root.key").exists()
    assert (folder / "model.h5").read_text() == "of the user"
    assert restored.missing == (), "files of bundles that were there are still there"
    Repository.open(restored.folder.repository, KeyRing(restored.folder.keys)).push_set("b-1")


def test_it_says_whose_private_keys_are_in_it(full: Fleet, tmp_path: Path) -> None:
    """Those on a stick are not, nor is one that was deleted: a backup that can't sign for root says so."""
    own, stick = full.with_own_keys(), tmp_path / "stick"
    stick.mkdir()
    away = short(own.trust.add("targets", stick))
    (own.folder.keys / "root.key").unlink()
    root, targets, *plain = check(
        unpacked(tmp_path / "b", packed(own.folder, tmp_path / "b", with_blobs=False)[1])
    ).keys
    assert (root.inside, len(root.outside), root.enough) == ((), 1, False)
    assert (len(targets.inside), targets.outside, targets.enough) == (1, (away,), True)
    assert all((len(one.inside), one.outside, one.enough) == (1, (), True) for one in plain)


def test_no_fleet_is_brought_back_inside_another(full: Fleet, backup: Backup) -> None:
    inside = full.folder.path / "models"
    with pytest.raises(OptionInvalid, match=r"lies in the fleet folder .*/fleet: run this there"):
        restore(backup, inside)
    assert not inside.exists()


def killed(point: int, inside: Path, act: Callable[[], object]) -> bool:
    """Whether `act` in a process of its own was killed before its `point`-th change inside a folder."""
    child = os.fork()
    if child == 0:
        sys.stderr.close()
        kill_before(point, inside)
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def half_swapped(folder: Path, new: Path, place: Path) -> tuple[Path, Path]:
    """A copy of a folder with what came out of a backup beside it, about to be put in its place."""
    shutil.copytree(folder, place)
    shutil.copytree(new, place / f"{STAGING}x")
    (place / "edge.toml").write_text((place / "edge.toml").read_text() + "\n# the old one\n")
    return place, place / f"{STAGING}x"


def test_cut_anywhere_nothing_is_lost_and_the_same_again_finishes_it(
    full: Fleet, backup: Backup, tmp_path: Path
) -> None:
    new = restore(backup, tmp_path / "new").folder.path
    for point in itertools.count(1):
        folder, staging = half_swapped(full.folder.path, new, tmp_path / f"cut-{point}")
        old = contents(folder)
        if not killed(point, folder, partial(put_in_place, staging, folder)):
            break
        aside = next(iter(folder.glob(f"{ASIDE}*")), folder / "none")
        left = {**contents(folder), **contents(aside)}
        assert old.keys() <= left.keys(), point
        toml = folder / "edge.toml"
        if not toml.exists():
            with pytest.raises(FleetFolderMissing):
                FleetFolder.open(folder)
        else:
            whole = old if "the old one" in toml.read_text() else contents(new)
            assert contents(folder) == whole, "it is a fleet folder while all is there"
        if point % 8 == 1:
            restore(backup, folder)
            assert contents(folder) == contents(new)
            assert blobs(folder) == blobs(full.folder.path), (
                "files of bundles that were there are still there"
            )
            assert not list(folder.glob(f"{STAGING}*"))
    assert point > 15


def made_by_hand(index: bytes, *members: tarfile.TarInfo) -> bytes:
    """What an archive holds, before it is sealed."""
    out = io.BytesIO()
    with tarfile.open(mode="w:", fileobj=out) as made:
        first = tarfile.TarInfo(INDEX)
        first.size = len(index)
        made.addfile(first, io.BytesIO(index))
        for member in members:
            made.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def opened(index: bytes, *members: tarfile.TarInfo) -> Backup:
    return unpacked(Path("h"), made_by_hand(index, *members))


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "/tmp/out-of-a-backup",
        "keys/../../out",
        "model.h5",
        "keys",
        "keys//x",
        "keys/./x",
        "cache/x",
    ],
)
def test_a_backup_that_leads_elsewhere_writes_nothing(full: Fleet, tmp_path: Path, name: str) -> None:
    index = BackupIndex(
        fleet="f-1", created_at=1, edge="1", files=1, size_bytes=1, devices=0, releases=0, bundles=False
    )
    member = tarfile.TarInfo(name)
    member.size = 1
    if name == "keys":
        member.type, member.size, member.linkname = tarfile.SYMTYPE, 0, str(tmp_path)
    before = {path for path in tmp_path.rglob("*") if not path.name.endswith(".lock")}
    with pytest.raises(BackupDamaged):
        restore(opened(encode(index), member), full.folder.path)
    assert {path for path in tmp_path.rglob("*") if not path.name.endswith(".lock")} == before
    assert not Path("/tmp/out-of-a-backup").exists()


def test_a_backup_of_another_version_and_one_that_lacks_something_are_refused(full: Fleet) -> None:
    index = BackupIndex(
        fleet="f-1", created_at=1, edge="1", files=0, size_bytes=0, devices=0, releases=0, bundles=False
    )
    before = contents(full.folder.path)
    for act in (check, lambda backup: restore(backup, full.folder.path)):
        with pytest.raises(BackupDamaged, match=r"edge\.toml"):
            act(opened(encode(index)))
    assert contents(full.folder.path) == before
    assert not list(full.folder.path.glob(f"{ASIDE}*"))
    with pytest.raises(BackupDamaged, match="0 files, 2 were put in"):
        opened(encode(replace(index, files=2)))
    with pytest.raises(BackupDamaged, match=r"edge\.backup/9"):
        opened(encode(index).replace(b"edge.backup/1", b"edge.backup/9"))
    for plain in (b"", b"x" * 1000, made_by_hand(encode(index))[:600]):
        with pytest.raises(BackupDamaged):
            unpacked(Path("h"), plain)


def test_keys_that_do_not_belong_to_the_repository_are_noticed(full: Fleet, tmp_path: Path) -> None:
    (full.folder.keys / "root.pub").write_text(secrets.token_hex(32) + "\n")
    plain = packed(full.folder, tmp_path / "b", with_blobs=False)[1]
    with pytest.raises(BackupDamaged):
        check(unpacked(tmp_path / "b", plain))


def test_every_part_that_is_restored_can_be_in_a_backup() -> None:
    assert {part.split("/")[0] for part in archives.PARTS} == {part.split("/")[0] for part in SWAPPED}


def test_a_fleet_that_has_nothing_yet_comes_back_and_is_backed_up_again(tmp_path: Path, fleet: Fleet) -> None:
    folder = FleetFolder.create(tmp_path / "new", "new")
    keys = KeyRing(folder.keys)
    shutil.copytree(fleet.folder.keys, folder.keys, dirs_exist_ok=True)
    Repository.create(folder.repository, keys, passphrase)
    _, plain = packed(folder, tmp_path / "a", with_blobs=True)
    back = restore(unpacked(tmp_path / "a", plain), tmp_path / "back").folder
    Inventory(back).add(Device(name="pi", device_id="b-1", host="h", user="u", host_key="x", fingerprint="y"))
    assert packed(back, tmp_path / "b", with_blobs=False)[0].devices == 1
