"""Files that other processes replace: `link/link.json` and `state/reported.json`.

The rule: they are read like anything from outside. No link is followed, no pipe waited for, nothing longer than its
limit is read; what does not fit is said once, and the last good content holds.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class WatchedFile:
    """A file that is looked at again and again.

    Args:
        path: where it lies. limit_bytes: the longest that it may be.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether it is another one than at the last look: made, replaced, written to or taken away."""
        try:
            found = self.path.lstat()
            seen = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        except OSError:
            seen = None
        changed, self._seen = seen != self._seen, seen
        return changed

    def read(self) -> bytes | None:
        """Its content, or None where there is none.

        Raises:
            OSError: it can't be read. ValueError: it is no plain file, or too long.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no plain file")
            content = file.read(self._limit_bytes + 1)
        if len(content) > self._limit_bytes:
            raise ValueError(f"it is longer than {self._limit_bytes} bytes")
        return content
