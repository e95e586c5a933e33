"""On the board: a document in `link/` that tells the agent what to do, and what the agent says of it.

Reads both, and the key that the board's certificates are for; writes the document, or takes it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

LIMIT = 1 << 20


def read(path: str) -> str | None:
    """A plain file's text, or None."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        return file.read(LIMIT)


def write(path: str, text: str) -> None:
    """Put a file there whole, and on the drive."""
    part = "%s.%d.part" % (path, os.getpid())
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
    except BaseException:
        os.unlink(part)
        raise
    settle(path)


def settle(path: str) -> None:
    """Have what was done in a folder be on the drive."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = os.path.expanduser(request["root"])
    name = {"door": "door.json", "stream": "stream.json"}[request["kind"]]
    path = os.path.join(root, "link", name)
    if "document" in request:
        if request["document"] is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            settle(path)
        else:
            write(path, request["document"])
    return {
        "folder": os.path.isdir(os.path.dirname(path)),
        "public_key": read(os.path.join(root, "mqtt.pub")),
        "document": read(path),
        "state": read(os.path.join(root, "run", name)),
    }


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
