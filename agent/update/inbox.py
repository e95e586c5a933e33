"""The inbox: files that an untrusted user may change at any moment, even while they are read.

The rule: each part of a path is opened below the one before it and never through a link; only plain files are read
that belong to whom the inbox belongs (a hard link may be to a key of ours), at most as long as was promised; what was
read is verified on our own copy, never on the inbox.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import DocumentTooLarge, InboxUnsafe
from agent.update.files import DISK, Files

METADATA = "metadata"
TARGETS = "targets"
BLOBS = "blobs"
REQUEST = "request"
TAKEN = "request.taken"
ASIDE = ".aside-"
REQUEST_BYTES = 256
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True)
class Inbox:
    """The folder that a push fills. `path` itself is ours; what is in it is not."""

    path: Path
    files: Files = DISK

    @contextlib.contextmanager
    def open(self, *parts: str) -> Iterator[int]:
        """A descriptor of a plain file of the inbox, open for reading.

        Raises:
            FileNotFoundError: there is none.
            InboxUnsafe: it or a folder above it is a link, or it is no plain file, or somebody else's.
        """
        with self._folder(parts[:-1]) as folder:
            descriptor = _open(parts, parts[-1], _FILE, folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InboxUnsafe(file="/".join(parts), reason="it is no plain file")
            if found.st_uid != self.path.lstat().st_uid:
                raise InboxUnsafe(file="/".join(parts), reason="it belongs to another user than the inbox")
            os.set_blocking(descriptor, True)
            yield descriptor
        finally:
            os.close(descriptor)

    def size_bytes(self, *parts: str) -> int | None:
        """Length of a plain file, or None where there is none."""
        try:
            with self.open(*parts) as descriptor:
                return os.fstat(descriptor).st_size
        except FileNotFoundError:
            return None

    def read(self, *parts: str, limit_bytes: int) -> bytes:
        """A whole file of at most `limit_bytes`.

        Raises:
            FileNotFoundError, InboxUnsafe: as `open`.
            DocumentTooLarge: it is longer.
        """
        with self.open(*parts) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(limit_bytes + 1)
            if len(data) > limit_bytes:
                size = max(os.fstat(descriptor).st_size, len(data))
                raise DocumentTooLarge(document="/".join(parts), size_bytes=size, limit_bytes=limit_bytes)
        return data

    def discard(self, *parts: str) -> None:
        """Remove a file or a link of the inbox, where there is one. A folder in its place, which may hold anything,
        is put aside."""
        with contextlib.suppress(FileNotFoundError), self._folder(parts[:-1]) as folder:
            try:
                self.files.unlink_in(folder, parts[-1])
            except IsADirectoryError:
                self.files.rename_in(folder, parts[-1], f"{ASIDE}{secrets.token_hex(4)}")

    def take_request(self) -> str | None:
        """Take the request, if there is one, by renaming it. Its text, or None when there was none."""
        if self.has_request() and self.size_of_any(TAKEN) is not None:
            self.discard(TAKEN)  # it may be what a file can't be renamed over
        try:
            self._rename(REQUEST, TAKEN)
        except FileNotFoundError:
            return None
        return self._request_text()

    def give_request_back(self) -> bool:
        """Make a request that was taken and not ended a request again. Whether there was one."""
        if self.size_of_any(TAKEN) is None:
            return False
        if self.size_of_any(REQUEST) is None:
            with contextlib.suppress(FileNotFoundError):
                self._rename(TAKEN, REQUEST)
        return True

    def end_request(self) -> None:
        """Say that the request that was taken has been answered."""
        self.discard(TAKEN)

    def has_request(self) -> bool:
        """Whether a request waits."""
        return self.size_of_any(REQUEST) is not None

    def size_of_any(self, name: str) -> int | None:
        """Length of whatever has this name at the top of the inbox, or None."""
        try:
            return os.lstat(self.path / name).st_size
        except OSError:
            return None

    def _rename(self, source: str, destination: str) -> None:
        try:
            with self._folder(()) as folder:
                self.files.rename_in(folder, source, destination)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InboxUnsafe(file=source, reason=error.strerror or str(error)) from error

    def _request_text(self) -> str:
        try:
            text = self.read(TAKEN, limit_bytes=REQUEST_BYTES).decode(errors="replace")
        except (OSError, InboxUnsafe, DocumentTooLarge):
            return ""
        return "".join(character for character in text.strip() if character.isprintable())

    @contextlib.contextmanager
    def _folder(self, parts: tuple[str, ...]) -> Iterator[int]:
        descriptor = _open(parts, str(self.path), _FOLDER, None)
        try:
            for part in parts:
                inner = _open(parts, part, _FOLDER, descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _open(parts: tuple[str, ...], name: str, flags: int, folder: int | None) -> int:
    if folder is not None and (name in ("", ".", "..") or "/" in name or "\0" in name):
        raise InboxUnsafe(file="/".join(parts), reason="its path leaves the inbox")
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InboxUnsafe(file="/".join(parts) or "inbox", reason=f"it can't be opened: {reason}") from error
