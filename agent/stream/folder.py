"""A watched folder.

The rule: it is only read; nothing in it is opened but plain files, nor changed. A file is taken when it is whole, that
is, when it has not changed for a moment; where several are, the newest is taken, and the others never. One that is
written anew is a new one. What came before the last one that was taken is not looked at again after a restart.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.contract.errors import StreamSourceFailed
from agent.plain_file import read_plain
from agent.stream.source import Picture

KINDS = (".jpg", ".jpeg", ".png", ".wav", ".npy")
MOST_FILES = 20_000
"""In the folder: looking at them costs time, and remembering them memory."""
LIMIT_BYTES = 32 * 1024 * 1024
"""Of a file; the image door takes no more."""

SETTLED_S = 0.3
"""A file that has not changed for so long is whole."""

Looks = tuple[int, int, int, int]
"""When it came, its number, length and time of change: a file that has another of these is another one."""


class Folder:
    """Gives the newest whole file.

    Args:
        path: of the folder. newest: see `StreamState`; files that came up to then are known.
    """

    def __init__(self, path: Path, newest: int) -> None:
        self.skipped = 0
        self._path = path
        self._newest = newest
        self._known: dict[str, Looks] = {}
        self._new: dict[str, tuple[Looks, float]] = {}
        self._looked = False

    def next(self, now: float) -> Picture | None:
        """See `Source`."""
        found = self._look()
        if not self._looked:
            self._looked = True
            self._known = {name: looks for name, looks in found.items() if looks[0] <= self._newest}
        self._known = {name: looks for name, looks in self._known.items() if found.get(name) == looks}
        new = {name: looks for name, looks in found.items() if name not in self._known}
        before, self._new = self._new, {}
        for name, looks in new.items():
            was, since = before.get(name, (None, now))
            self._new[name] = looks, since if was == looks else now
        whole = [name for name, (_, since) in self._new.items() if now - since >= SETTLED_S]
        if not whole:
            return None
        name = max(whole, key=lambda each: (new[each][0], each))
        self._known.update((each, new[each]) for each in whole)
        self.skipped += len(whole) - 1
        try:
            return Picture(read_plain(self._path / name, limit_bytes=LIMIT_BYTES), name, new[name][0])
        except FileNotFoundError:
            return None  # taken away meanwhile
        except (OSError, ValueError) as error:
            raise StreamSourceFailed(source=f"`{name}`", reason=_reason(error)) from error

    def close(self) -> None:
        """Nothing is held."""

    def _look(self) -> dict[str, Looks]:
        found: dict[str, Looks] = {}
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.name.lower().endswith(KINDS):
                        looks = _looks(entry)
                        if looks is not None:
                            found[entry.name] = looks
                    if len(found) > MOST_FILES:
                        raise ValueError(f"it holds more than {MOST_FILES} files")
        except (OSError, ValueError) as error:
            raise StreamSourceFailed(source=f"`{self._path}`", reason=_reason(error)) from error
        return found


def _looks(entry: os.DirEntry[str]) -> Looks | None:
    """None where it is no plain file, or gone."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        about = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    # The time of the inode: what is copied with its old date, or renamed, comes now.
    return about.st_ctime_ns, about.st_ino, about.st_size, about.st_mtime_ns


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
