"""What the board's objects take on its disk, and how much of it will be free again.

The rule: an object never changes, so its size is looked at once in a run of the update process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import StateDamaged
from agent.update.folder import UpdateFolder
from agent.update.pinning import pinned_objects
from agent.update.record import UpdateRecord

BLOCK_BYTES = 512
"""What `st_blocks` counts in, on every system."""


@dataclass(frozen=True)
class Room:
    """Bytes on the disk: of all objects, and of those that neither what serves nor what is tried needs."""

    objects_bytes: int
    reclaimable_bytes: int


class RoomReader:
    """Looks at the objects of one board."""

    def __init__(self, folder: UpdateFolder) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}

    def of(self, record: UpdateRecord) -> Room:
        """The room as the record has it; where a reference can't be followed nothing counts as reclaimable."""
        objects = self._folder.objects
        names = [name for name in os.listdir(objects) if len(name) == 64] if objects.is_dir() else []  # noqa: PTH208
        sizes = {name: self._size_bytes(name) for name in names}
        trial = record.trial if record.in_progress else None
        try:
            needed = pinned_objects(self._folder, [n for n in (record.current, trial) if n is not None])
        except StateDamaged:
            needed = frozenset(sizes)
        free = sum(size for name, size in sizes.items() if name not in needed)
        return Room(objects_bytes=sum(sizes.values()), reclaimable_bytes=free)

    def _size_bytes(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = tree_bytes(self._folder.objects / name)
        return self._sizes[name]


def tree_bytes(folder: Path) -> int:
    """What a folder takes on the disk with all that is in it; links are not followed."""
    total = 0
    for path, folders, files in os.walk(folder):
        total += sum(os.lstat(f"{path}/{name}").st_blocks for name in (*folders, *files)) * BLOCK_BYTES
    return total
