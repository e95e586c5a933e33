"""The store of what a board may run: layers, bundles and runtimes, each under its digest.

The rule: an object is complete or absent. It is built in a folder of another name, hashed while it is copied out of
the inbox, sealed read-only, synced, and renamed; nothing writes into it afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.errors import (
    BoardDiskFull,
    DigestMismatch,
    DocumentTooLarge,
    FileMissing,
    InboxIncomplete,
    InboxUnsafe,
    SizeMismatch,
)
from agent.contract.manifest import BundleManifest
from agent.contract.runtime import Layer, RuntimeManifest
from agent.update.files import DISK, Files, chunks_of, leftovers, temporary_beside
from agent.update.folder import UpdateFolder
from agent.update.hardware import disk_free_bytes
from agent.update.inbox import BLOBS, Inbox
from agent.update.unpacking import unpack

MANIFEST = "manifest.json"
MARGIN_BYTES = 16 * 1024 * 1024
"""What is left free for state, reports and logs."""
COMPILED_FACTOR = 1.5
"""What a layer takes on disk for each byte of its files: compiled modules and blocks come on top."""


@dataclass(frozen=True)
class Needed:
    """A blob that the inbox must hold. `what` needs it."""

    sha256: str
    size_bytes: int
    what: str


@dataclass(frozen=True)
class ObjectStore:
    """`objects/` of a board, filled from an inbox."""

    folder: UpdateFolder
    inbox: Inbox
    files: Files = DISK

    def has(self, digest: str) -> bool:
        """Whether the object is there (and so is complete)."""
        return self.folder.object(digest).is_dir()

    def digests(self) -> list[str]:
        """Every object that is there."""
        found = self.folder.objects.iterdir() if self.folder.objects.is_dir() else iter(())
        return sorted(entry.name for entry in found if len(entry.name) == 64)

    def tidy(self) -> None:
        """Remove what interrupted writes and removals of objects left."""
        self.tidy_folder(self.folder.objects)

    def tidy_folder(self, folder: Path) -> None:
        """The same in another folder of ours."""
        for entry in leftovers(folder):
            self.files.remove_tree(entry)

    def missing_layers(self, runtime: RuntimeManifest) -> list[Layer]:
        """Layers that are not there."""
        layers = {layer.sha256: layer for layer in runtime.layers if not self.has(layer.sha256)}
        return list(layers.values())

    def check_inbox(self, needed: Iterable[Needed], *, what: str) -> None:
        """See that the inbox holds all of `needed`, each of its length.

        Raises:
            InboxIncomplete: something is missing or is too short.
            InboxUnsafe: something is no file of a push. All such is taken out, so that the next push sends it again.
        """
        missing, unsafe = [], []
        for blob in needed:
            try:
                if self._inbox_bytes(blob.sha256) < blob.size_bytes:
                    missing.append(blob)
            except InboxUnsafe as error:
                self.inbox.discard(BLOBS, blob.sha256)
                unsafe.append(error)
        if unsafe:
            raise unsafe[0]
        if missing:
            raise InboxIncomplete(count=len(missing), what=what, first=missing[0].what)

    def check_room(self, layers: Iterable[Layer], bundle_bytes: int, *, what: str) -> None:
        """See that there is room, before anything is written.

        Raises:
            BoardDiskFull: there is not.
        """
        layers = list(layers)
        unpacked = sum(int(layer.unpacked_bytes * COMPILED_FACTOR) for layer in layers)
        packed = max((layer.size_bytes for layer in layers), default=0)
        needed = unpacked + packed + bundle_bytes + MARGIN_BYTES
        free = disk_free_bytes(self.folder.objects)
        if free < needed:
            raise BoardDiskFull(what=what, needed_bytes=needed, free_bytes=free)

    def put_layer(self, layer: Layer) -> None:
        """Verify and unpack a layer from the inbox, where it is not there.

        Raises:
            InboxIncomplete, InboxUnsafe, SizeMismatch, DigestMismatch, ArchiveUnsafe, BoardDiskFull: it is not.
        """
        if self.has(layer.sha256):
            return

        def build(destination: Path) -> None:
            archive = temporary_beside(self.folder.object(layer.sha256))
            try:
                name = f"{layer.name} {layer.version}"
                self._copy(layer.sha256, layer.size_bytes, archive, name=name)
                unpack(archive, destination, unpacked_bytes=layer.unpacked_bytes, name=name, files=self.files)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    self.files.unlink(archive)

        self._put(layer.sha256, build, what=f"the layer {layer.name} {layer.version}")

    def put_runtime(self, digest: str, manifest_bytes: bytes) -> None:
        """Write a runtime's manifest, its layers being there."""
        if self.has(digest):
            return

        def build(destination: Path) -> None:
            self.files.mkdir(destination, mode=0o755)
            self.files.write(destination / MANIFEST, [manifest_bytes], mode=0o444)

        self._put(digest, build, what="the runtime's manifest")

    def put_bundle(self, digest: str, manifest_bytes: bytes, manifest: BundleManifest) -> None:
        """Verify and copy a bundle's files from the inbox, where it is not there.

        Raises:
            InboxIncomplete, InboxUnsafe, SizeMismatch, DigestMismatch, BoardDiskFull: it is not.
        """
        if self.has(digest):
            return

        def build(destination: Path) -> None:
            self.files.mkdir(destination, mode=0o755)
            for entry in manifest.files:
                path = destination / entry.path
                for folder in reversed(path.relative_to(destination).parents):
                    if not (destination / folder).is_dir():
                        self.files.mkdir(destination / folder, mode=0o755)
                self._copy(entry.sha256, entry.size_bytes, path, name=entry.path, mode=0o444)
            self.files.write(destination / MANIFEST, [manifest_bytes], mode=0o444)

        self._put(digest, build, what=f"the bundle of {manifest.model}")

    def manifest(self, digest: str) -> BundleManifest:
        """The manifest of a bundle that is there.

        Raises:
            FileMissing, DocumentInvalid: it can't be read.
        """
        return decode(
            BundleManifest, self._read_own(self.folder.object(digest) / MANIFEST, name=MANIFEST, what=digest)
        )

    def verify_bundle(self, digest: str) -> None:
        """Hash a bundle that is there again.

        Raises:
            FileMissing, SizeMismatch, DigestMismatch: the disk does not give back what was written.
        """
        folder = self.folder.object(digest)
        manifest_bytes = self._read_own(folder / MANIFEST, name=MANIFEST, what=digest)
        found = hashlib.sha256(manifest_bytes).hexdigest()
        if found != digest:
            raise DigestMismatch(file=MANIFEST, expected=digest, found=found)
        manifest = decode(BundleManifest, manifest_bytes)
        for entry in manifest.files:
            data = self._read_own(folder / entry.path, name=entry.path, what=manifest.model)
            found = hashlib.sha256(data).hexdigest()
            if len(data) != entry.size_bytes:
                raise SizeMismatch(file=entry.path, expected=entry.size_bytes, found=len(data))
            if found != entry.sha256:
                raise DigestMismatch(file=entry.path, expected=entry.sha256, found=found)

    def remove(self, digest: str) -> None:
        """Take an object away; whoever calls knows that nothing refers to it."""
        self.files.remove_tree(self.folder.object(digest))

    def _put(self, digest: str, build: Callable[[Path], None], *, what: str) -> None:
        final = self.folder.object(digest)
        destination = temporary_beside(final)
        try:
            build(destination)
            self.files.seal(destination)
            self.files.rename(destination, final)
            self.files.sync_folder(final.parent)
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.files.remove_tree(destination)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BoardDiskFull(
                    what=what, needed_bytes=MARGIN_BYTES, free_bytes=disk_free_bytes(final.parent)
                ) from error
            raise

    def _copy(self, sha256: str, size_bytes: int, path: Path, *, name: str, mode: int = 0o400) -> None:
        """Copy a blob out of the inbox, hashing what is written. A blob that is wrong is taken out of the inbox, so
        that the next push sends it again."""
        hasher = hashlib.sha256()

        def hashed(descriptor: int) -> Iterator[bytes]:
            length = 0
            for chunk in chunks_of(descriptor):
                length += len(chunk)
                if length > size_bytes:
                    raise SizeMismatch(file=name, expected=size_bytes, found=length)
                hasher.update(chunk)
                yield chunk
            if length != size_bytes:
                raise SizeMismatch(file=name, expected=size_bytes, found=length)

        try:
            with self.inbox.open(BLOBS, sha256) as descriptor:
                self.files.write(path, hashed(descriptor), mode=mode)
            if hasher.hexdigest() != sha256:
                raise DigestMismatch(file=name, expected=sha256, found=hasher.hexdigest())
        except FileNotFoundError as error:
            raise InboxIncomplete(count=1, what=name, first=sha256) from error
        except (DigestMismatch, SizeMismatch, InboxUnsafe):
            self.inbox.discard(BLOBS, sha256)
            raise

    def _inbox_bytes(self, sha256: str) -> int:
        size = self.inbox.size_bytes(BLOBS, sha256)
        return -1 if size is None else size

    def _read_own(self, path: Path, *, name: str, what: str) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise FileMissing(file=name, what=what) from error


def read_manifest(inbox: Inbox, digest: str, *, limit_bytes: int) -> bytes:
    """A manifest's stored bytes out of the inbox's blobs, verified by their digest.

    Raises:
        InboxIncomplete: it is not there.
        InboxUnsafe, DocumentTooLarge, DigestMismatch: it is not what it should be.
    """
    try:
        data = inbox.read(BLOBS, digest, limit_bytes=limit_bytes)
    except FileNotFoundError as error:
        raise InboxIncomplete(count=1, what="the runtime", first=digest) from error
    except DocumentTooLarge:
        inbox.discard(BLOBS, digest)
        raise
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        inbox.discard(BLOBS, digest)
        raise DigestMismatch(file=MANIFEST, expected=digest, found=found)
    return data
