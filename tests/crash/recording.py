"""Writes down what the update process does to files: one line of JSON an operation, contents by their hash.

The rule: what is written down is what was done, and nothing else changes the board's folder: an audit hook of Python
sees every change of a file that does not go through the interface, and it stands in the log as `outside`.

This module is also a part of the fixture runtime (as `agent.recording`), so it is standard library only.
`EDGE_RECORD` names the folder of the log; `EDGE_RECORD_BASE` the folder that paths are told from; `EDGE_RECORD_FULL`
the number of the operation, over all processes of the log, from which on the disk is full, and `EDGE_RECORD_ONCE`
whether there is room again after that (see `Recording`).
"""
# ruff: noqa: PTH109, PTH112, PTH115, PTH118 - an audit hook costs little, and its paths are text

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LOG = "log"
ROOM = "room"
"""A file beside the log: where it is, the disk has room again."""
TAKES_ROOM = ("write", "symlink", "mkdir", "rename")
"""Primitives that fail on a full disk; a rename may need a new block for its folder."""
VOLATILE = ("run",)
"""Folders of a board that tell of live processes only."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.symlink": (1,), "os.link": (1,),
    "os.chmod": (0,), "os.chown": (0,), "os.truncate": (0,), "os.utime": (0,), "os.setxattr": (0,),
    "os.removexattr": (0,),
}  # fmt: skip
"""Audit events that change files, and which of their arguments are paths of what is changed."""


def disk(files: type[Any]) -> Any:
    """The file system of this process: recorded where the environment says so."""
    if "EDGE_RECORD" not in os.environ:
        return files()
    base = os.environ["EDGE_RECORD_BASE"]
    full_at = os.environ.get("EDGE_RECORD_FULL")
    made = recorded(
        files, Path(os.environ["EDGE_RECORD"]), Path(base), full_at=None if full_at is None else int(full_at)
    )
    sys.addaudithook(made.recording.heard)
    return made


def recorded(files: type[Any], log: Path, base: Path, *, full_at: int | None = None) -> Any:
    """`files` with its primitives written down."""
    made = type("Recorded", (files,), {name: _noting(files, name) for name in _DETAILS})()
    made.recording = Recording(log, base, full_at=full_at)
    return made


def lines(log: Path) -> list[dict[str, Any]]:
    """What a log says, in its order; nothing where there is none."""
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


class Recording:
    """The log of one process; several processes append to one.

    With `full_at` the operation of this number and all after it that take room fail with ENOSPC, until there is a file
    `room` beside the log. `write` fails half-way: its file is there, with half of its data.
    """

    def __init__(self, folder: Path, base: Path, *, full_at: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._base = str(base)
        self._full_at = full_at
        self._inside = 0

    def note(self, **line: Any) -> None:
        """Append one line."""
        self._inside += 1
        try:
            with (self._folder / LOG).open("a") as file:
                file.write(json.dumps(line) + "\n")
        finally:
            self._inside -= 1

    def told(self, path: Any) -> str:
        """A path as the log tells it: from the base, or absolute outside it."""
        text = os.path.normpath(os.path.join(os.getcwd(), os.fspath(path)))
        return os.path.relpath(text, self._base) if _is_in(text, self._base) else text

    def content(self, data: bytes) -> str:
        """Keep what was written. Its hash."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._folder / sha256
        if not path.exists():
            path.write_bytes(data)
        return sha256

    def is_full(self, name: str) -> bool:
        """Whether an operation that begins now finds a full disk."""
        if self._full_at is None or name not in TAKES_ROOM or (self._folder / ROOM).exists():
            return False
        log = self._folder / LOG
        return (log.read_bytes().count(b"\n") if log.exists() else 0) >= self._full_at

    def refuse(self, name: str) -> None:
        """Note that there was no room for an operation."""
        self.note(op="full", path=name)
        if os.environ.get("EDGE_RECORD_ONCE") == "1":
            (self._folder / ROOM).touch()

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook: what happens to the board's folder while no primitive is at work."""
        if self._inside or not (event in _CHANGES or event == "open"):
            return
        if event == "open":
            path, _, flags = arguments
            paths = [path] if isinstance(flags, int) and flags & _WRITES else []
        else:
            paths = [arguments[index] for index in _CHANGES[event]]
        if event == "os.mkdir" and os.path.isdir(arguments[0]):
            return  # `makedirs` tries, and fails
        for path in paths:
            text = _readable(path)
            if text is not None and _is_in(text, self._base) and not self._is_volatile(text):
                self.note(op="outside", event=event, path=self.told(text))

    def _is_volatile(self, path: str) -> bool:
        parts = Path(os.path.relpath(path, self._base)).parts
        return len(parts) > 1 and parts[1] in VOLATILE

    def __enter__(self) -> Recording:
        self._inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._inside -= 1


def _noting(files: type[Any], name: str) -> Any:
    real, details = getattr(files, name), _DETAILS[name]

    def primitive(self: Any, *arguments: Any, **options: Any) -> Any:
        recording: Recording = self.recording
        with recording:
            if recording.is_full(name):
                if name == "write":
                    _write_half(self, real, *arguments, **options)
                recording.refuse(name)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
            if name == "write":
                return _write(self, real, *arguments, **options)
            line = details(recording, *arguments, **options)
            done = real(self, *arguments, **options)
            recording.note(op=name, **line)
            return done

    return primitive


def _write(self: Any, real: Any, path: Path, chunks: Iterable[bytes], *, mode: int) -> int:
    kept: list[bytes] = []

    def seen() -> Iterator[bytes]:
        for chunk in chunks:
            kept.append(chunk)
            yield chunk

    recording: Recording = self.recording
    told = {"path": recording.told(path), "mode": mode}
    try:
        return int(real(self, path, seen(), mode=mode))
    except FileExistsError:
        told = {}
        raise
    finally:
        if told and path.exists():  # also when what was to be written broke off
            recording.note(op="write", **told, content=recording.content(b"".join(kept)))


def _write_half(self: Any, real: Any, path: Path, chunks: Iterable[bytes], *, mode: int) -> None:
    data = b"".join(chunks)
    _write(self, real, path, [data[: len(data) // 2]], mode=mode)


def _in(recording: Recording, folder: int, name: str) -> str:
    return recording.told(os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name))


_DETAILS: dict[str, Any] = {
    "write": None,
    "sync": lambda r, path: {"path": r.told(path)},
    "sync_folder": lambda r, path: {"path": r.told(path)},
    "rename": lambda r, source, destination: {"path": r.told(source), "to": r.told(destination)},
    "symlink": lambda r, path, target: {"path": r.told(path), "target": target},
    "unlink": lambda r, path: {"path": r.told(path)},
    "mkdir": lambda r, path, *, mode: {"path": r.told(path), "mode": mode},
    "rmdir": lambda r, path: {"path": r.told(path)},
    "chmod": lambda r, path, mode: {"path": r.told(path), "mode": mode},
    "give": lambda r, path, **_: {"path": r.told(path)},
    "rename_in": lambda r, folder, source, to: {"path": _in(r, folder, source), "to": _in(r, folder, to)},
    "unlink_in": lambda r, folder, name: {"path": _in(r, folder, name)},
    "open_lock": lambda r, path: {"path": r.told(path)},
    "mark_lock": lambda r, descriptor, _: {"path": r.told(os.readlink(f"/proc/self/fd/{descriptor}"))},
}


def _is_in(path: str, base: str) -> bool:
    return path == base or path.startswith(base + "/")


def _readable(path: Any) -> str | None:
    """A path of an audit event as text; a descriptor by what it leads to; None for what is no path."""
    if isinstance(path, int):
        try:
            return os.readlink(f"/proc/self/fd/{path}")
        except OSError:
            return None
    try:
        return os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path)))
    except TypeError:
        return None
