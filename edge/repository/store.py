"""Manifests and blobs of the repository: bytes by what they must be.

The rule: a manifest lies under its hash and its name, a blob under its hash; what is there is never replaced by other
bytes, and what is handed out is looked at first.
"""

from __future__ import annotations

from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from agent.contract.errors import BlobMissing, RepositoryDamaged
from edge import durable
from edge.repository.roles import sweep


def prefixed(target: TargetFile) -> str:
    """Where a target lies below `targets/`: `releases/digits/<sha256>.2.json`."""
    folder, _, name = target.path.rpartition("/")
    return f"{folder}/{target.hashes['sha256']}.{name}"


class Store:
    """The folders `targets/` and `blobs/` of a repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._targets = folder / "targets"
        self._blobs = folder / "blobs"

    def create(self) -> None:
        """Make the folders."""
        durable.make_folder(self._targets)
        durable.make_folder(self._blobs)

    def has_blob(self, sha256: str, size_bytes: int) -> bool:
        """Whether a blob is there, by name and length."""
        path = self._blobs / sha256
        return path.is_file() and path.stat().st_size == size_bytes

    def blob(self, sha256: str, size_bytes: int) -> Path:
        """The file of a blob.

        Raises:
            BlobMissing: it is not there.
            RepositoryDamaged: it is of another length.
        """
        if not (self._blobs / sha256).exists():
            raise BlobMissing(sha256=sha256, size_bytes=size_bytes)
        if not self.has_blob(sha256, size_bytes):
            raise RepositoryDamaged(
                path=self._blobs / sha256, reason=f"it must be there with {size_bytes} bytes"
            )
        return self._blobs / sha256

    def take_blob(self, source: Path, sha256: str, size_bytes: int, file: str) -> None:
        """Copy a file in, unless it is there. `file` is how an error calls it.

        Raises:
            FileMissing, SizeMismatch, DigestMismatch: the file is not what was promised.
        """
        if not self.has_blob(sha256, size_bytes):
            durable.copy(source, self._blobs / sha256, sha256=sha256, size_bytes=size_bytes, file=file)

    def path(self, target: TargetFile) -> Path:
        """Where a target lies."""
        return self._targets / prefixed(target)

    def write(self, target: TargetFile, data: bytes) -> None:
        """Put a target there; role metadata that names it comes after."""
        path = self.path(target)
        durable.make_folder(path.parent)
        durable.write(path, data)

    def read(self, target: TargetFile) -> bytes:
        """The bytes of a target.

        Raises:
            RepositoryDamaged: they are not there, or not those that were signed for.
        """
        path = self.path(target)
        try:
            data = path.read_bytes()
            target.verify_length_and_hashes(data)
        except FileNotFoundError as error:
            raise RepositoryDamaged(path=path, reason="it is not there") from error
        except (OSError, LengthOrHashMismatchError) as error:
            raise RepositoryDamaged(path=path, reason=str(error)) from error
        return data

    def sweep(self, current: TargetFile) -> None:
        """Remove earlier files of the target `current`, when they are old enough, and what was interrupted."""
        path = self.path(current)
        name = current.path.rpartition("/")[2]
        for other in path.parent.glob(f"*.{name}"):
            if other != path and len(other.name) == len(path.name):
                sweep(other)
        for folder in (path.parent, self._blobs):
            for interrupted in folder.glob(f"{durable.PREFIX}*"):
                sweep(interrupted)
