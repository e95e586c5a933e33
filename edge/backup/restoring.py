"""A backup looked at, and brought back.

The rule: what comes out of a backup is verified as a fleet folder before anything that is there is touched; what was
there is moved aside, never removed; `edge.toml` goes first and comes last, so that a folder which is half restored is
no fleet folder, and the same restore again finishes it. What is no part of a backup stays where it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent.contract.errors import BackupDamaged, ContractError, OptionInvalid, RepositoryError
from edge import durable
from edge.backup.archive import BLOBS, Backup, BackupIndex
from edge.backup.halves import Halves, halves
from edge.config import EDGE_TOML, FleetFolder, lock
from edge.identity import PLAIN, KeyRing
from edge.inventory import Inventory
from edge.repository import Repository
from edge.repository.trust import Trust

STAGING = ".restore-"
ASIDE = "before-restore-"
SWAPPED = (
    "keys",
    "devices",
    "device_profiles",
    "rollouts",
    "repository",
    "telemetry/collector.json",
    EDGE_TOML,
)
"""What is replaced, in this order; a part that the backup does not hold stays. `edge.toml` is moved aside first."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did.

    Attributes:
        index: what the backup says of itself. folder: where it was brought.
        aside: where what was there before lies now, or None.
        missing: titles of releases that can't be flashed before they are published again: their files are not here.
    """

    index: BackupIndex
    folder: FleetFolder
    aside: Path | None
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was seen in a backup that is good.

    Attributes:
        missing: titles of releases whose files are not in it.
        keys: whose private halves are in it, of every role.
    """

    missing: tuple[str, ...]
    keys: tuple[Halves, ...]


def check(backup: Backup) -> Checked:
    """See that a backup holds a fleet folder whose keys and signed repository belong together.

    Raises:
        BackupDamaged: it does not.
    """
    with tempfile.TemporaryDirectory(prefix="edge-backup-") as scratch:
        blobs = _unpack(backup, Path(scratch), with_blobs=False)
        fleet = _verified(backup.path, Path(scratch))
        return Checked(missing=_releases_without_files(fleet, blobs), keys=halves(fleet))


def see_place(folder: Path) -> None:
    """See that no fleet is brought back inside another one; over one that is there already it may be.

    Raises:
        OptionInvalid: `folder` lies in a fleet folder.
    """
    folder = folder.resolve()
    if (folder / EDGE_TOML).exists():
        return
    for above in folder.parents:
        if (above / EDGE_TOML).is_file():
            raise OptionInvalid(
                option="FOLDER",
                reason=f"{folder} lies in the fleet folder {above}: run this there, or name a folder elsewhere",
            )


def restore(backup: Backup, folder: Path) -> Restored:
    """Bring a backup back into `folder`, which is made where it is missing.

    Raises:
        OptionInvalid: `folder` lies in another fleet folder.
        BackupDamaged: the backup is not good; nothing was changed.
        FleetFolderBusy: a command or a collector is at work in the folder.
    """
    see_place(folder)
    folder = folder.resolve()
    durable.make_folder(folder)
    with _alone(folder):
        for left in folder.glob(f"{STAGING}*"):
            shutil.rmtree(left)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
        try:
            _unpack(backup, staging, with_blobs=True)
            _verified(backup.path, staging)
            for old in (folder / BLOBS, *sorted(folder.glob(f"{ASIDE}*/{BLOBS}"))):
                _take_over_blobs(old, staging / BLOBS)  # aside: a restore that was cut moved them there
            aside = put_in_place(staging, folder)
        finally:
            shutil.rmtree(staging)
            durable.flush_folder(folder)
    fleet = FleetFolder.open(folder)
    missing = _releases_without_files(fleet, {blob.name for blob in (folder / BLOBS).iterdir()})
    return Restored(index=backup.index, folder=fleet, aside=aside, missing=missing)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else is at work in the folder, no collector either."""
    with ExitStack() as held:
        held.enter_context(lock(folder))
        for part, file in (("repository", ".lock"), ("devices", ".lock"), ("telemetry", "collector.lock")):
            if (folder / part).is_dir():
                held.enter_context(lock(folder / part, wait_s=1.0, file=file))
        yield


def _unpack(backup: Backup, folder: Path, *, with_blobs: bool) -> frozenset[str]:
    """All files of a backup, durable, readable by their owner alone where they were; returns the names of all blobs."""
    folders, blobs = {folder}, set()
    for name, content in backup.files():
        if name.startswith(f"{BLOBS}/"):
            _see_blob(backup.path, name, content, folder / name if with_blobs else None)
            blobs.add(name.rpartition("/")[2])
        else:
            _write(folder / name, _pieces(content))
        folders.add((folder / name).parent)
    for part, mode in (("keys", 0o700), ("telemetry", 0o700), ("devices", 0o755), (BLOBS, 0o755)):
        durable.make_folder(folder / part, mode=mode)
    for each in folders:
        if each.is_dir():
            durable.flush_folder(each)
    return frozenset(blobs)


def _see_blob(path: Path, name: str, content: IO[bytes], to: Path | None) -> None:
    found = hashlib.sha256()
    if to is None:
        for piece in _pieces(content):
            found.update(piece)
    else:
        _write(to, _pieces(content), found.update)
    if found.hexdigest() != name.rpartition("/")[2]:
        raise BackupDamaged(path=path, reason=f"`{name}` does not hold what its name says")


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(CHUNK_BYTES):
        yield piece


def _write(path: Path, pieces: Iterator[bytes], look: Callable[[bytes], None] = lambda piece: None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    private = path.parent.name in ("keys", "telemetry") and path.suffix != ".pub"
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 if private else 0o644
    )
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            look(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _verified(path: Path, folder: Path) -> FleetFolder:
    """What came out of a backup, as a fleet folder that holds together."""
    try:
        fleet = FleetFolder.open(folder)
        keys = KeyRing(fleet.keys, fleet.key_folders)
        repository = Repository.open(fleet.repository, keys)
        repository.releases()
        for state in Trust(fleet.repository, keys).states():
            if state.keys.role in PLAIN and not fleet.key_folders:  # keys on a stick are in no backup
                keys.signers(state.keys)
        for device in Inventory(fleet).list():
            repository.desired(device.device_id)
        return fleet
    except (RepositoryError, ContractError) as error:
        raise BackupDamaged(path=path, reason=str(error)) from error


def _take_over_blobs(old: Path, new: Path) -> None:
    """Files of bundles and runtimes that are there and are what their names say."""
    for blob in sorted(old.iterdir()) if old.is_dir() else ():
        if not (new / blob.name).exists() and blob.is_file() and _digest(blob) == blob.name:
            _link(blob, new / blob.name)
    durable.flush_folder(new)


def _digest(blob: Path) -> str | None:
    try:
        with blob.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # a damaged drive
        return None


def _link(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        shutil.copyfile(source, destination)


def put_in_place(staging: Path, folder: Path) -> Path | None:
    """Move what was unpacked to its place, and what was there aside; returns where, or None where nothing was."""
    aside = folder / f"{ASIDE}{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    moved = False
    for part in (EDGE_TOML, *(part for part in SWAPPED if part != EDGE_TOML)):
        if (staging / part).exists() and (folder / part).exists():
            if not moved:
                durable.make_folder(aside, mode=0o700)
                durable.write(aside / ".gitignore", b"*\n")
                moved = True
            _move(folder / part, aside / part)
    for part in SWAPPED:
        if (staging / part).exists():
            _move(staging / part, folder / part)
    return aside if moved else None


def _move(source: Path, destination: Path) -> None:
    if not destination.parent.exists():
        durable.make_folder(destination.parent, mode=0o700)
    source.rename(destination)
    durable.flush_folder(destination.parent)
    durable.flush_folder(source.parent)


def _releases_without_files(fleet: FleetFolder, blobs: Collection[str]) -> tuple[str, ...]:
    """Titles of releases of which a bundle's file is not among `blobs`."""
    repository = Repository.open(fleet.repository, KeyRing(fleet.keys))
    found = []
    for release in repository.releases():
        entries = [entry for bundle in release.bundles.values() for entry in repository.bundle(bundle).files]
        if any(entry.sha256 not in blobs for entry in entries):
            found.append(release.title)
    return tuple(found)
