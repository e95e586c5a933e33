"""Files that other processes replace: `link/link.json`, `link/door.json`, `state/reported.json`.

The rule: they are read like anything from outside (`agent.plain_file`); what does not fit is said once, and the last
good content holds.
"""

from __future__ import annotations

from pathlib import Path

from agent.plain_file import read_plain


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
        try:
            return read_plain(self.path, limit_bytes=self._limit_bytes)
        except FileNotFoundError:
            return None
