"""The backup's file: a tar archive, sealed whole with the backup's own passphrase.

The rule: nothing is written that is not sealed; what is read was seen to be whole, under the names that a backup holds,
before any of it is handed out. Root and targets keys stay encrypted inside it, as they are in the folder. The first
member says what there must be.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, Any

from agent.contract.codec import decode, encode
from agent.contract.errors import (
    BackupDamaged,
    BackupExists,
    BackupMissing,
    ContractError,
    DocumentInvalid,
)
from edge import durable
from edge.backup.seal import COPIES, seal, see_memory, unseal
from edge.config import EDGE_TOML, FleetFolder, lock

INDEX = "backup.json"
SCHEMA = "edge.backup/1"
BLOBS = "repository/blobs"
PARTS = (
    EDGE_TOML,
    "keys",
    "devices",
    "device_profiles",
    "rollouts",
    "repository/metadata",
    "repository/targets",
    BLOBS,
    "telemetry/collector.json",
)
"""Files and folders that a backup may hold. The store of telemetry is not among them."""
_PASSED_OVER = (durable.PREFIX, ".lock")


@dataclass(frozen=True)
class BackupIndex:
    """What a backup says of itself.

    Attributes:
        fleet: the fleet's name. created_at: seconds since 1970, UTC. edge: the version that made it.
        files: how many. size_bytes: of them together. devices, releases: how many of the files are such.
        bundles: the files of bundles and runtimes are in it.
    """

    fleet: str
    created_at: int
    edge: str
    files: int
    size_bytes: int
    devices: int
    releases: int
    bundles: bool
    schema: str = SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise DocumentInvalid(
                document="BackupIndex", reason=f"`schema` is {self.schema!r}, this version reads {SCHEMA!r}"
            )


@dataclass(frozen=True)
class Backup:
    """A backup that was opened: it is whole, and holds only what backups do.

    Attributes:
        path: its file. index: what it says of itself. archive: what it holds, in memory.
    """

    path: Path
    index: BackupIndex
    archive: tarfile.TarFile

    def files(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Its files and their names in a fleet folder."""
        for member in self.archive:
            content = self.archive.extractfile(member)
            if content is not None and member.name != INDEX:
                yield member.name, content


def write_backup(fleet: FleetFolder, path: Path, passphrase: str, *, with_blobs: bool) -> BackupIndex:
    """Make a backup of a fleet folder. Cut short, there is none.

    Args:
        fleet: the folder.
        path: of the file to be, which must not exist; mode 0600.
        passphrase: that opens it, not empty.
        with_blobs: the files of bundles and runtimes too.

    Raises:
        BackupExists: there is something at `path`.
        BackupBeyondMachine: there is too little memory for it.
        FleetFolderBusy: someone else is writing to the repository.
    """
    if path.exists():
        raise BackupExists(path=path)
    index, plain = packed(fleet, path, with_blobs=with_blobs)
    try:
        durable.write_new(path, seal(plain, passphrase), mode=0o600)
    except FileExistsError as error:
        raise BackupExists(path=path) from error
    return index


def packed(fleet: FleetFolder, path: Path, *, with_blobs: bool) -> tuple[BackupIndex, bytes]:
    """The archive of the backup that is to be at `path`, not sealed yet; raises as `write_backup`."""
    with lock(fleet.repository), lock(fleet.devices):
        names = sorted(_names(fleet.path, with_blobs=with_blobs))
        index = BackupIndex(
            fleet=fleet.config.fleet,
            created_at=int(time.time()),
            edge=version("edge-toolkit"),
            files=len(names),
            size_bytes=sum((fleet.path / name).stat().st_size for name in names),
            devices=sum(name.startswith("devices/") for name in names),
            releases=sum(name.startswith("repository/targets/releases/") for name in names),
            bundles=with_blobs,
        )
        see_memory(path, COPIES * index.size_bytes)
        out = io.BytesIO()
        with tarfile.open(mode="w:", fileobj=out, format=tarfile.PAX_FORMAT) as archive:
            data = encode(index)
            member = tarfile.TarInfo(INDEX)
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
            for name in names:
                _add(archive, name, fleet.path / name)
        return index, out.getvalue()


def open_backup(path: Path, passphrase: str) -> Backup:
    """Open a backup's file.

    Raises:
        BackupMissing: there is no such file. BackupLocked: the passphrase does not open it.
        BackupDamaged: it is cut or changed, no backup, or holds what no backup does.
        BackupBeyondMachine: there is too little memory for it, or time.
    """
    try:
        see_memory(path, COPIES * path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:
        raise BackupMissing(path=path, reason=error.strerror or str(error)) from error
    return unpacked(path, unseal(path, data, passphrase))


def unpacked(path: Path, plain: bytes) -> Backup:
    """The backup of a file that was unsealed.

    Raises:
        BackupDamaged: what is in it is no backup, or not all of one.
    """
    try:
        archive = tarfile.TarFile(fileobj=io.BytesIO(plain))
        members = archive.getmembers()
        for member in members:
            if not member.isreg() or not _is_ours(member.name):
                raise BackupDamaged(path=path, reason=f"it holds {member.name!r}, which no backup does")
        first = archive.extractfile(members[0]) if members and members[0].name == INDEX else None
        if first is None:
            raise BackupDamaged(path=path, reason=f"it does not begin with {INDEX!r}")
        index = decode(BackupIndex, first.read())
    except (ContractError, tarfile.TarError) as error:
        raise BackupDamaged(path=path, reason=str(error)) from error
    if (count := len(members) - 1) != index.files:
        raise BackupDamaged(path=path, reason=f"it holds {count} files, {index.files} were put in")
    return Backup(path, index, archive)


def _names(folder: Path, *, with_blobs: bool) -> Iterator[str]:
    for part in PARTS:
        if part == BLOBS and not with_blobs:
            continue
        start = folder / part
        for path in [start] if start.is_file() else start.rglob("*"):
            if path.is_file() and not path.name.startswith(_PASSED_OVER):
                yield path.relative_to(folder).as_posix()


def _add(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        member = tarfile.TarInfo(name)
        status = path.stat()
        member.size, member.mode, member.mtime = status.st_size, 0o600, int(status.st_mtime)
        archive.addfile(member, file)


def _is_ours(name: str) -> bool:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != name or "\0" in name:
        return False
    return name == INDEX or any(name == part or name.startswith(f"{part}/") for part in PARTS)
