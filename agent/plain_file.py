"""Files in a folder that another user of the board may change at any moment: `run/`, `link/`.

The rule: no link is followed, no pipe waited for, nothing longer than its limit is read; and a process that such a
file names counts only where it runs as the user who wrote the file, so that nobody points root at somebody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 65_536


def read_plain(path: Path, *, limit_bytes: int = MOST_BYTES) -> bytes:
    """The content of a plain file.

    Raises:
        OSError: it is not there, a link, or can't be read.
        ValueError: it is no plain file, or longer than `limit_bytes`.
    """
    with _opened(path) as descriptor:
        return _content(descriptor, limit_bytes)


def process_told(path: Path) -> dict[str, Any]:
    """The JSON object at `path` where its `pid` is that of a live process of the file's owner; else an empty one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        with _opened(path) as descriptor:
            owner = os.fstat(descriptor).st_uid
            told: dict[str, Any] = json.loads(_content(descriptor, MOST_BYTES))
        if _user_of(int(told["pid"])) == owner:
            return told
    return {}


def launched(path: Path, launcher: Path) -> int | None:
    """Process id that the file at `path` tells, of a process that `launcher` started; None where there is none."""
    pid = process_told(path).get("pid")
    if not isinstance(pid, int):
        return None
    with contextlib.suppress(OSError):
        if os.fsencode(launcher) in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int, limit_bytes: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"it is longer than {limit_bytes} bytes")
    return content


def _user_of(pid: int) -> int:
    """Effective user of a live process.

    Raises:
        OSError, ValueError: there is none.
    """
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"process {pid} tells no user")
    return int(found[1])
