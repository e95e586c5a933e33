"""Between a folder on the disk and a tree of the model: read, made again, and told apart.

The rule: two trees are equal when no program of the board could tell them apart by anything that it acts on. What is
left out of the comparison is listed in `canonical`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.crash.model import HALF, ZERO, Entry, File, Folder, Link, Tree

RECORD, REPORT = "board/state/update.json", "board/state/reported.json"
REQUEST, TAKEN = "board/inbox/request", "board/inbox/request.taken"
PID = re.compile(r'pid\\*": \d+')
"""In what the fixture agent answers, which a report may quote."""
TEMPORARY = re.compile(r"^\.new-(?P<name>.+)-[0-9a-f]{8}$")
SECRETS = ("device.key", "device.pub", "mqtt.key", "mqtt.pub")
TIMES = (
    "signed",
    "clock_seen",
    "since",
    "at",
    "wall",
    "contact",
    "code_at",
    "disk_free_bytes",
    "disk_total_bytes",
    "clock_floor",
)


class Contents:
    """Bytes by their hash; files of trees are hard links to them, since nothing on a board writes into a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._data: dict[str, bytes] = {}
        self.told: dict[tuple[str, File], str] = {}
        """What `canonical` said of a file of this name, since most files are in most trees."""

    def add(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self._data.setdefault(sha256, data)
        return sha256

    def take_in(self, folder: Path) -> None:
        """Everything that a recording kept."""
        for path in folder.iterdir():
            if len(path.name) == 64 and path.name not in self._data:
                self._data[path.name] = path.read_bytes()

    def of(self, file: File) -> bytes:
        if file.part == ZERO:
            return b""
        data = self._data[file.content]
        return data[: len(data) // 2] if file.part == HALF else data

    def link(self, file: File, path: Path) -> None:
        data = self.of(file)
        kept = self._folder / f"{hashlib.sha256(data).hexdigest()}-{file.mode:o}"
        if not kept.exists():
            new = kept.with_name(f"{kept.name}.{os.urandom(4).hex()}")
            new.write_bytes(data)
            new.chmod(file.mode)
            new.replace(kept)
        os.link(kept, path)


def scan(base: Path, contents: Contents) -> dict[str, Entry]:
    """What is in a folder."""
    tree: dict[str, Entry] = {}
    for path in sorted(base.rglob("*")):
        name, found = str(path.relative_to(base)), path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if is_volatile(name):
            continue
        if stat.S_ISLNK(found.st_mode):
            tree[name] = Link(str(path.readlink()))
        elif stat.S_ISDIR(found.st_mode):
            tree[name] = Folder(mode)
        else:
            tree[name] = File(contents.add(path.read_bytes()), mode)
    return tree


def make(tree: Tree, base: Path, contents: Contents) -> None:
    """Put a tree on the disk."""
    base.mkdir(parents=True)
    for name in sorted(tree):
        entry, path = tree[name], base / name
        if isinstance(entry, Folder):
            path.mkdir()
        elif isinstance(entry, Link):
            path.symlink_to(entry.target)
        elif _is_written_in_place(name):
            path.write_bytes(contents.of(entry))
            path.chmod(entry.mode)
        else:
            contents.link(entry, path)
    for name, entry in tree.items():
        if isinstance(entry, Folder):
            (base / name).chmod(entry.mode)


def canonical(tree: Tree, contents: Contents, *, again: bool = False) -> str:
    """A digest that equal trees share.

    Left out: what lies under a temporary name (`.new-…`), file or folder, since whoever comes next removes it whatever
    it holds; the random part of such names; what locks hold; times, process numbers, free space and the counter of
    signed reports; how often a run was begun (`state/resume`; its bound has a test of its own); what the report says,
    while the record can be read, since it is written anew from the record before anything else; and random keys, which
    are only there or not, whole or not.

    With `again`, for second cuts, also what the first cuts have shown for each: a temporary name is gone after the next
    run, and a request that was taken is given back by it.
    """
    lines = []
    record = tree.get(RECORD)
    is_readable = isinstance(record, File) and _told("update.json", record, contents).startswith("{")
    for path, entry in tree.items():
        name = compared_as(path)
        if name is None:
            continue
        if name != path:
            lines += [] if again else [name]
        elif again and path in (REQUEST, TAKEN):
            lines.append(REQUEST)
        elif path == REPORT and is_readable:
            lines.append(path)
        elif isinstance(entry, File):
            lines.append(f"{path} {entry.mode:o} {_told(path.rpartition('/')[2], entry, contents)}")
        else:
            lines.append(f"{path} {entry}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@cache
def compared_as(path: str) -> str | None:
    """The name by which a path is compared: its own, one without its random part, or None inside of such."""
    parts = path.split("/")
    if any(TEMPORARY.match(part) for part in parts[:-1]):
        return None
    hidden = TEMPORARY.match(parts[-1])
    return "/".join([*parts[:-1], f".new-{hidden['name']}"]) if hidden else path


def _told(name: str, file: File, contents: Contents) -> str:
    known = contents.told.get((name, file))
    if known is None:
        known = contents.told[name, file] = _tell(name, file, contents)
    return known


def _tell(name: str, file: File, contents: Contents) -> str:
    data = contents.of(file)
    whole = len(data) == len(contents.of(File(file.content, file.mode))) if file.content else True
    if name in ("lock", "install.lock"):
        return ""
    if name == "resume":
        return "a number" if data.strip().isdigit() else "none"
    if name in SECRETS and whole:
        return "a key"
    if name in ("update.json", "reported.json"):
        with contextlib.suppress(ValueError):
            return PID.sub("pid", json.dumps(_without_times(json.loads(data)), sort_keys=True))
    return hashlib.sha256(data).hexdigest()


def _without_times(plain: Any) -> Any:
    if isinstance(plain, Mapping):
        if "payload" in plain and "signature" in plain:
            return _without_times(json.loads(plain["payload"]))
        return {key: 0 if key in TIMES else _without_times(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_without_times(item) for item in plain]
    return plain


def is_volatile(name: str) -> bool:
    """Whether a path is in `run/`, which tells of live processes only: it is not recorded and not compared."""
    return "run" in name.split("/")[1:-1]


def _is_written_in_place(name: str) -> bool:
    return name.endswith(("/lock", "/install.lock"))
