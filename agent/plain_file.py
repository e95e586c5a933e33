"""Files in a folder that another user of the board may change at any moment: `run/`, `link/`.

The rule: no link is followed, no pipe waited for, nothing longer than its limit is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_BYTES = 65_536


def read_plain(path: Path, *, limit_bytes: int = MOST_BYTES) -> bytes:
    """The content of a plain file. Raises as `read_owned`."""
    return read_owned(path, limit_bytes=limit_bytes)[1]


def read_owned(path: Path, *, limit_bytes: int = MOST_BYTES) -> tuple[int, bytes]:
    """Whose a plain file is, as a user's number, and its content.

    Raises:
        OSError: it is not there, a link, or can't be read.
        ValueError: it is no plain file, or longer than `limit_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"it is longer than {limit_bytes} bytes")
    return found.st_uid, content
