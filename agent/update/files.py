"""All file-system changes of the update process, in one small place.

The rule: nothing else in `agent.update` or `agent.install` changes a file of the board's folder, but in `run/`, which
tells of live processes only. The primitives (`PRIMITIVES`) are what a crash can fall between; a recording shim
overrides them. What is composed of them (`replace`, `replace_link`, `make_folder`, `remove_tree`) is durable when it
returns: file and folder are synced before and after the rename.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

TEMPORARY = ".new-"
"""How names begin that a crash may leave behind; `leftovers` finds them."""
PRIMITIVES = (
    "write", "sync", "sync_folder", "rename", "symlink", "unlink", "mkdir", "rmdir", "chmod", "give",
    "rename_in", "unlink_in", "open_lock", "mark_lock",
)  # fmt: skip
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Files:
    """The real file system."""

    # --- primitives ------------------------------------------------------------------------------------------

    def write(self, path: Path, chunks: Iterable[bytes], *, mode: int) -> int:
        """Make a new file; its content is not durable before `sync`. Returns its length in bytes.

        Raises:
            FileExistsError: there is something at `path`.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        length = 0
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                length += len(chunk)
            file.flush()
            os.fchmod(file.fileno(), mode)
        return length

    def sync(self, path: Path) -> None:
        """Make a file's content durable."""
        _sync(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def sync_folder(self, path: Path) -> None:
        """Make a folder's names durable."""
        _sync(path, _FOLDER)

    def rename(self, source: Path, destination: Path) -> None:
        """Move within one folder's file system, atomically, over what is there."""
        source.rename(destination)

    def symlink(self, path: Path, target: str) -> None:
        """Make a new symbolic link."""
        path.symlink_to(target)

    def unlink(self, path: Path) -> None:
        """Remove a file or a link."""
        path.unlink()

    def mkdir(self, path: Path, *, mode: int) -> None:
        """Make a new folder."""
        os.mkdir(path, mode)  # noqa: PTH102 - as the descriptor below
        descriptor = os.open(path, _FOLDER)  # whoever owns the folder above may have put a link in its place
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def chmod(self, path: Path, mode: int) -> None:
        """Change who may do what with a file or folder, never through a link."""
        if not path.is_symlink():
            path.chmod(mode)

    def give(self, path: Path, *, user: int = -1, group: int) -> None:
        """Change to whom a file or folder belongs, never through a link."""
        os.chown(path, user, group, follow_symlinks=False)

    # --- primitives in a folder that somebody else may change meanwhile: by descriptor, never by path -----------

    def rename_in(self, folder: int, source: str, destination: str) -> None:
        """Give an entry of an open folder another name."""
        os.rename(source, destination, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink_in(self, folder: int, name: str) -> None:
        """Remove a file or a link of an open folder."""
        os.unlink(name, dir_fd=folder)

    # --- primitives of locks: what they hold is read while their holder lives, and means nothing after a crash ---

    def open_lock(self, path: Path) -> int:
        """A descriptor of a lock file, which is made where there is none."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def mark_lock(self, descriptor: int, data: bytes) -> None:
        """Write into a lock who holds it."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)

    # --- composed of them, durable when they return ----------------------------------------------------------

    def replace(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
        """Put `data` at `path`: after a crash there is either the old or the new, whole."""
        temporary = temporary_beside(path)
        try:
            self.write(temporary, [data], mode=mode)
            self.sync(temporary)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temporary)
            raise
        self.sync_folder(path.parent)

    def replace_link(self, path: Path, target: str) -> None:
        """Make `path` a symbolic link to `target`, by rename of a new one."""
        temporary = temporary_beside(path)
        self.symlink(temporary, target)
        try:
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temporary)
            raise
        self.sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file or a link where there is one."""
        if os.path.lexists(path):
            self.unlink(path)
            self.sync_folder(path.parent)

    def make_folder(self, path: Path, *, mode: int = 0o755) -> None:
        """Make a folder, and those above it, where there are none."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        self.mkdir(path, mode=mode)
        self.sync_folder(path.parent)

    def remove_tree(self, path: Path) -> None:
        """Remove a folder of ours with all in it, following no link. A folder loses its name first, so that after a
        crash it is whole or not there under its own name."""
        if path.is_symlink() or not path.is_dir():
            self.remove(path)
            return
        doomed = path
        if not path.name.startswith(TEMPORARY):
            doomed = temporary_beside(path)
            self.rename(path, doomed)
            self.sync_folder(path.parent)
        self._empty(doomed)
        self.rmdir(doomed)
        self.sync_folder(path.parent)

    def _empty(self, folder: Path) -> None:
        """Empty a folder. It is made ours alone before it is looked into: whoever owned it could swap a name in it
        between the look and the removal, and lead root elsewhere by a link."""
        if folder.stat().st_uid != os.geteuid():
            self.give(folder, user=os.geteuid(), group=os.getegid())
        self.chmod(folder, 0o700)
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                self._empty(entry)
                self.rmdir(entry)
            else:
                self.unlink(entry)

    def seal(self, folder: Path) -> None:
        """Sync every file and folder of a tree and take away the right to write; the caller renames it then."""
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                self.seal(entry)
            else:
                self.sync(entry)
        self.chmod(folder, 0o555)
        self.sync_folder(folder)


DISK = Files()


def temporary_beside(path: Path) -> Path:
    """A new name in the same folder."""
    return path.with_name(f"{TEMPORARY}{path.name[:60]}-{secrets.token_hex(4)}")


def leftovers(folder: Path) -> list[Path]:
    """What an interrupted write or removal left in `folder`."""
    return sorted(folder.glob(f"{TEMPORARY}*")) if folder.is_dir() else []


def leftovers_of(path: Path) -> list[Path]:
    """What an interrupted write or removal of `path` itself left beside it."""
    return sorted(path.parent.glob(f"{TEMPORARY}{glob.escape(path.name[:60])}-{'[0-9a-f]' * 8}"))


def chunks_of(descriptor: int, *, size_bytes: int = 1 << 18) -> Iterator[bytes]:
    """What an open file holds, piece by piece."""
    while chunk := os.read(descriptor, size_bytes):
        yield chunk


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
