"""The backup's file: a tar archive, sealed whole with the backup's own passphrase.

The rule: nothing is written that is not sealed, and what is read is taken only under the names that a backup holds.
Root and targets keys stay encrypted inside it, as they are in the folder. The first member says what there must be.
"""

from __future__ import annotations

import contextlib
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
    BackupLocked,
    BackupMissing,
    ContractError,
    DocumentInvalid,
)
from edge import durable
from edge.backup.age import Damaged, Locked, Opening, Sealing
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


def write_backup(fleet: FleetFolder, path: Path, passphrase: str, *, with_blobs: bool) -> BackupIndex:
    """Make a backup of a fleet folder. Cut short, there is none.

    Args:
        fleet: the folder.
        path: of the file to be, which must not exist; mode 0600.
        passphrase: that opens it, not empty.
        with_blobs: the files of bundles and runtimes too.

    Raises:
        BackupExists: there is something at `path`.
        FleetFolderBusy: someone else is writing to the repository.
    """
    if path.exists():
        raise BackupExists(path=path)
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
        try:
            with durable.new_file(path, mode=0o600) as file:
                sealing = Sealing(file, passphrase)
                with tarfile.open(mode="w|", fileobj=sealing, format=tarfile.PAX_FORMAT) as archive:
                    _add(archive, INDEX, encode(index))
                    for name in names:
                        _add_file(archive, name, fleet.path / name)
                sealing.finish()
        except FileExistsError as error:
            raise BackupExists(path=path) from error
    return index


@contextlib.contextmanager
def read_backup(path: Path, passphrase: str) -> Iterator[tuple[BackupIndex, Iterator[tuple[str, IO[bytes]]]]]:
    """What a backup says of itself, and its files, each to be read before the next one is asked for.

    All of it was there and unchanged when the iterator has ended, and not before.

    Raises:
        BackupMissing: there is no such file. BackupLocked: the passphrase does not open it.
        BackupDamaged: it is cut or changed, no backup, or holds what no backup does; while it is read, too.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupMissing(path=path, reason=error.strerror or str(error)) from error
    with file, _told(path):
        stream = io.BufferedReader(Opening(file, passphrase), 1 << 16)
        with tarfile.open(mode="r|", fileobj=stream) as archive:
            members = _members(path, archive)
            name, first = next(members, ("", io.BytesIO()))
            if name != INDEX:
                raise BackupDamaged(path=path, reason=f"its first member is {name!r}, not {INDEX!r}")
            index = decode(BackupIndex, first.read())
            yield index, _counted(path, index, members, stream)


def _names(folder: Path, *, with_blobs: bool) -> Iterator[str]:
    for part in PARTS:
        if part == BLOBS and not with_blobs:
            continue
        start = folder / part
        for path in [start] if start.is_file() else start.rglob("*"):
            if path.is_file() and not path.name.startswith(_PASSED_OVER):
                yield path.relative_to(folder).as_posix()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        member = tarfile.TarInfo(name)
        status = path.stat()
        member.size, member.mode, member.mtime = status.st_size, 0o600, int(status.st_mtime)
        archive.addfile(member, file)


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is None or not _is_ours(member.name):
            raise BackupDamaged(path=path, reason=f"it holds {member.name!r}, which no backup does")
        yield member.name, content


def _is_ours(name: str) -> bool:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != name or "\0" in name:
        return False
    return name == INDEX or any(name == part or name.startswith(f"{part}/") for part in PARTS)


def _counted(
    path: Path, index: BackupIndex, members: Iterator[tuple[str, IO[bytes]]], stream: io.BufferedIOBase
) -> Iterator[tuple[str, IO[bytes]]]:
    count = 0
    for name, content in members:
        count += 1
        yield name, content
    while stream.read(
        1 << 20
    ):  # what is behind the archive's end, so that the seal is seen to the last piece
        pass
    if count != index.files:
        raise BackupDamaged(path=path, reason=f"it holds {count} files, {index.files} were put in")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except Locked as error:
        raise BackupLocked(path=path) from error
    except (Damaged, ContractError, tarfile.TarError, EOFError) as error:
        raise BackupDamaged(path=path, reason=str(error)) from error
