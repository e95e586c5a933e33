"""A small, pure model of a file system: what a power cut may leave of a tree after any number of operations.

The rule: a name is durable only after its folder's fsync, data only after the file's fsync. `Disk.after(cut)` gives
the four trees that a cut now may leave:

    clean  everything that was done is there
    lost   nothing is there that was not synced: names as they were, data as it was
    torn   all names are there; data that was not synced is there by half
    zero   all names are there; data that was not synced is not there: files of length zero

A tree is a plain mapping from path to entry; nothing here touches a disk.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ZERO = "zero"
HALF = "half"


class Cut(enum.Enum):
    """What of the un-synced a power cut takes."""

    CLEAN = "clean"
    LOST = "lost"
    TORN = "torn"
    ZERO = "zero"


@dataclass(frozen=True)
class File:
    """A file. `content`: hash of its bytes. `part`: how much of them is there, empty for all, `half` or `zero`."""

    content: str
    mode: int
    part: str = ""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder; what is in it has paths of its own."""

    mode: int


Entry = File | Link | Folder
Tree = Mapping[str, Entry]
"""Path from the base (`board/state/update.json`) to what is there; every folder above a path has an entry."""


@dataclass
class _Node:
    """One inode. `names` are a folder's; `durable_` is what the medium holds."""

    entry: Entry
    durable: Entry
    names: dict[str, _Node] = field(default_factory=dict)
    durable_names: dict[str, _Node] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        return isinstance(self.entry, Folder)


class Impossible(Exception):
    """The log says what can't have been done: the recording misses something."""


class Disk:
    """A disk with a page cache. Begins with a tree that is all durable; `do` applies operations."""

    def __init__(self, tree: Tree) -> None:
        self._top = _Node(Folder(0o755), Folder(0o755))
        for path in sorted(tree):
            folder, name = self._place(path)
            folder.names[name] = folder.durable_names[name] = _Node(tree[path], tree[path])

    def do(self, operation: Mapping[str, Any]) -> None:
        """Apply one operation of a log.

        Raises:
            Impossible: it can't have been done on this tree.
        """
        getattr(self, f"_{operation['op']}")(**{k: v for k, v in operation.items() if k != "op"})

    def after(self, cut: Cut) -> dict[str, Entry]:
        """The tree that a cut now may leave."""
        tree: dict[str, Entry] = {}
        self._collect(self._top, "", cut, tree)
        return tree

    def unsynced(self) -> list[str]:
        """What a cut now may take, in words: one line for each name and each content."""
        found: list[str] = []
        self._collect_unsynced(self._top, "", found)
        return found

    # --- operations ----------------------------------------------------------------------------------------------

    def _write(self, path: str, content: str, mode: int) -> None:
        self._add(path, _Node(File(content, mode), File(content, mode, ZERO)))

    def _sync(self, path: str) -> None:
        node = self._node(path)
        if isinstance(node.entry, Link):
            raise Impossible(f"sync of {path}, which is a link")
        node.durable, node.durable_names = node.entry, dict(node.names)

    def _sync_folder(self, path: str) -> None:
        node = self._node(path)
        if not node.is_folder:
            raise Impossible(f"sync of {path}, which is no folder")
        node.durable, node.durable_names = node.entry, dict(node.names)

    def _rename(self, path: str, to: str) -> None:
        folder, name = self._place(path)
        other, new = self._place(to)
        if name not in folder.names:
            raise Impossible(f"rename of {path}, which is not there")
        moved, there = folder.names[name], other.names.get(new)
        if there is not None and (there.names or moved.is_folder != there.is_folder):
            raise Impossible(f"rename of {path} onto {to}, which is of another kind or not empty")
        if moved.is_folder and f"{to}/".startswith(f"{path}/"):
            raise Impossible(f"rename of {path} into itself")
        other.names[new] = folder.names.pop(name)

    _rename_in = _rename

    def _symlink(self, path: str, target: str) -> None:
        self._add(path, _Node(Link(target), Link(target)))

    def _unlink(self, path: str) -> None:
        folder, name = self._place(path)
        if self._node(path).is_folder:
            raise Impossible(f"unlink of {path}, which is a folder")
        del folder.names[name]

    _unlink_in = _unlink

    def _mkdir(self, path: str, mode: int) -> None:
        self._add(path, _Node(Folder(mode), Folder(mode)))

    def _rmdir(self, path: str) -> None:
        folder, name = self._place(path)
        if not self._node(path).is_folder or folder.names[name].names:
            raise Impossible(f"rmdir of {path}, which is no empty folder")
        del folder.names[name]

    def _chmod(self, path: str, mode: int) -> None:
        node = self._node(path)
        if not isinstance(node.entry, Link):
            node.entry = replace(node.entry, mode=mode)

    def _give(self, path: str) -> None:
        self._node(path)

    def _open_lock(self, path: str) -> None:
        folder, name = self._place(path)
        if name not in folder.names:
            self._add(path, _Node(File("", 0o600, ZERO), File("", 0o600, ZERO)))

    def _mark_lock(self, path: str) -> None:
        self._node(path)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[_Node, str]:
        node = self._top
        *above, name = path.split("/")
        for part in above:
            if part not in node.names or not node.names[part].is_folder:
                raise Impossible(f"{path}: there is no folder `{part}`")
            node = node.names[part]
        return node, name

    def _node(self, path: str) -> _Node:
        if path == ".":
            return self._top
        folder, name = self._place(path)
        if name not in folder.names:
            raise Impossible(f"{path} is not there")
        return folder.names[name]

    def _add(self, path: str, node: _Node) -> None:
        folder, name = self._place(path)
        if name in folder.names:
            raise Impossible(f"{path} is there already")
        folder.names[name] = node

    def _collect(self, node: _Node, path: str, cut: Cut, tree: dict[str, Entry]) -> None:
        names = node.durable_names if cut is Cut.LOST else node.names
        for name, inner in names.items():
            below = f"{path}/{name}" if path else name
            tree[below] = _left_of(inner, cut)
            self._collect(inner, below, cut, tree)

    def _collect_unsynced(self, node: _Node, path: str, found: list[str]) -> None:
        for name in sorted({*node.names, *node.durable_names}):
            below = f"{path}/{name}" if path else name
            now, before = node.names.get(name), node.durable_names.get(name)
            if now is not before:
                found.append(
                    f"name {below} ({'gone' if now is None else 'new' if before is None else 'other'})"
                )
            if now is not None:
                if now.entry != now.durable:
                    found.append(f"data {below}")
                self._collect_unsynced(now, below, found)


def _left_of(node: _Node, cut: Cut) -> Entry:
    if cut is Cut.LOST:
        return node.durable
    if cut is Cut.CLEAN or node.entry == node.durable or not isinstance(node.entry, File):
        return node.entry
    if (
        isinstance(node.durable, File)
        and not node.durable.part
        and node.durable.content == node.entry.content
    ):
        return node.entry  # only its mode is not synced
    return replace(node.entry, part=HALF if cut is Cut.TORN else ZERO)
