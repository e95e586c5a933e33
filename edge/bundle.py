"""Bundles on disk: written whole or not at all, opened only when every byte is the promised one.

The rule: a bundle's folder holds `manifest.json` and exactly the files that it lists. `open_bundle` reads each of
them; a missing, longer, changed or additional file, a link or anything else that is no plain file is refused. The
digest is that of the manifest's stored bytes; who knows it from a signed release hands it in. An artifact that takes
its weights from other files is refused too: these would be files that nobody verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from agent.contract import codec
from agent.contract.errors import (
    ArchiveUnsafe,
    BundleMissing,
    DigestMismatch,
    DocumentInvalid,
    FileMissing,
    NameInvalid,
    SizeMismatch,
)
from agent.contract.manifest import BundleManifest, FileEntry, ModelFormat
from agent.contract.names import check_path
from agent.contract.onnx_places import external_places
from edge import durable

MANIFEST = "manifest.json"
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose files were all verified when it was opened.

    Attributes:
        folder: where it lies.
        manifest: what it is.
        manifest_bytes: as stored; never serialised again.
        digest: SHA-256 of `manifest_bytes`: the bundle's identity.
    """

    folder: Path
    manifest: BundleManifest
    manifest_bytes: bytes
    digest: str

    def path(self, name: str) -> Path:
        """Where the listed file `name` lies."""
        return self.folder / self.manifest.file(name).path


def write_bundle(
    folder: Path,
    *,
    files: Mapping[str, bytes | Path],
    manifest: Callable[[tuple[FileEntry, ...]], BundleManifest],
    replace: bool = False,
) -> str:
    """Write a bundle beside `folder` and rename it there when it is complete.

    Args:
        folder: the bundle's folder; what is above it is made.
        files: bundle path to its bytes, or to a file that is copied.
        manifest: makes the manifest from the list of files.
        replace: take the place of a bundle that is there already.

    Returns:
        The bundle's digest.

    Raises:
        NameInvalid: a path of `files` is none.
        DocumentInvalid: the manifest is not valid.
        FileExistsError: `folder` exists and is not to be replaced.
    """
    if folder.exists() and not replace:
        raise FileExistsError(f"`{folder}` exists already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f"{durable.PREFIX}{secrets.token_hex(8)}")
    try:
        draft.mkdir()
        entries = tuple(_store(draft, path, files[path]) for path in sorted(files))
        data = codec.encode(manifest(entries))
        durable.write(draft / MANIFEST, data)
        for made in [path for path in draft.rglob("*") if path.is_dir()]:
            durable.flush_folder(made)
        _put(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return codec.digest(data)


def open_bundle(folder: Path, *, digest: str | None = None) -> Bundle:
    """Open a bundle and verify every byte of it.

    Args:
        folder: the bundle's folder.
        digest: what the manifest's SHA-256 must be, where that is known.

    Raises:
        FileMissing: there is no manifest, or a listed file is not there.
        DocumentInvalid, DocumentTooLarge: the manifest is not valid.
        DigestMismatch, SizeMismatch: a file is not the promised one.
        ArchiveUnsafe: the folder holds something that the manifest does not list, or that is no plain file, or its
            artifact names other files.
    """
    data = _manifest_bytes(folder)
    found = codec.digest(data)
    if digest is not None and found != digest:
        raise DigestMismatch(file=MANIFEST, expected=digest, found=found)
    manifest = codec.decode(BundleManifest, data)
    _refuse_strangers(folder, {entry.path for entry in manifest.files})
    for entry in manifest.files:
        _verify(folder, entry)
    if manifest.format is ModelFormat.ONNX:
        _refuse_other_files(folder, manifest.model_file)
    return Bundle(folder=folder, manifest=manifest, manifest_bytes=data, digest=found)


def find_bundles(path: Path) -> list[Path]:
    """The bundle folders that `path` names: itself, or those directly in it, sorted by name.

    Raises:
        BundleMissing: there is none.
    """
    if not path.is_dir():
        reason = "it is a file" if path.exists() else "there is no such folder"
        raise BundleMissing(path=path, reason=reason)
    if (path / MANIFEST).exists():
        return [path]
    found = sorted(
        below.parent for below in path.glob(f"*/{MANIFEST}") if not below.parent.name.startswith(".")
    )
    if not found:
        reason = f"neither it nor a folder in it holds `{MANIFEST}`"
        raise BundleMissing(path=path, reason=reason)
    return found


def _manifest_bytes(folder: Path) -> bytes:
    try:
        with _open_plain(folder, MANIFEST) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(codec.MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError as error:
        raise FileMissing(file=MANIFEST, what=f"`{folder}`") from error


def _refuse_strangers(folder: Path, listed: set[str]) -> None:
    """Raise ArchiveUnsafe where the folder holds more than its manifest says."""
    folders = {parent.as_posix() for path in listed for parent in Path(path).parents}
    for found in sorted(folder.rglob("*")):
        name = found.relative_to(folder).as_posix()
        if found.is_symlink():
            raise ArchiveUnsafe(file=folder, entry=name, reason="a link")
        if found.is_dir():
            if name not in folders:
                raise ArchiveUnsafe(
                    file=folder, entry=name, reason="a folder that the manifest does not list"
                )
        elif name != MANIFEST and name not in listed:
            raise ArchiveUnsafe(file=folder, entry=name, reason="not listed in the manifest")


def _verify(folder: Path, entry: FileEntry) -> None:
    found = hashlib.sha256()
    length = 0
    try:
        with _open_plain(folder, entry.path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                found.update(chunk)
                length += len(chunk)
    except FileNotFoundError as error:
        raise FileMissing(file=entry.path, what=f"`{folder}`") from error
    if length != entry.size_bytes:
        raise SizeMismatch(file=entry.path, expected=entry.size_bytes, found=length)
    if found.hexdigest() != entry.sha256:
        raise DigestMismatch(file=entry.path, expected=entry.sha256, found=found.hexdigest())


def _refuse_other_files(folder: Path, name: str) -> None:
    with _open_plain(folder, name) as descriptor:
        try:
            with mmap(descriptor, 0, access=ACCESS_READ) as whole, memoryview(whole) as data:
                places = external_places(data)
        except ValueError as error:
            raise ArchiveUnsafe(file=folder, entry=name, reason=f"no ONNX file: {error}") from error
    if places:
        reason = f"a model whose weights are to come from `{places[0]}`"
        raise ArchiveUnsafe(file=folder, entry=name, reason=reason)


@contextlib.contextmanager
def _open_plain(folder: Path, name: str) -> Iterator[int]:
    """An open descriptor of a plain file, never of a link, pipe or device."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArchiveUnsafe(file=folder, entry=name, reason="no plain file that can be read") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArchiveUnsafe(file=folder, entry=name, reason="no plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def _store(draft: Path, path: str, content: bytes | Path) -> FileEntry:
    try:
        check_path(path, what="file of a bundle")
    except NameInvalid as error:
        raise DocumentInvalid(document="bundle", reason=str(error)) from error
    target = draft / path
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.read_bytes()
    durable.write(target, data)
    return FileEntry(path=path, size_bytes=len(data), sha256=codec.digest(data))


def _put(draft: Path, folder: Path) -> None:
    """Rename `draft` to `folder`; what was there steps aside first and is removed afterwards."""
    aside = folder.with_name(f"{durable.PREFIX}{secrets.token_hex(8)}")
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(aside)
        draft.rename(folder)
        durable.flush_folder(folder.parent)
    finally:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
