"""On the board: take a public key out of the user's `authorized_keys`; all other lines stay as they are."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any


def main(request: dict[str, Any]) -> dict[str, Any]:
    path = os.path.realpath(os.path.join(os.path.expanduser("~"), ".ssh", "authorized_keys"))
    kind, public = request["key"].split()[:2]
    body = f"{kind} {public}".encode()
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines(True)
    except FileNotFoundError:
        return {"removed": False}
    kept = [line for line in lines if body not in line or line.lstrip().startswith(b"#")]
    if kept == lines:
        return {"removed": False}
    beside = path + ".edge"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(beside, stat.S_IMODE(os.stat(path).st_mode))
    os.replace(beside, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return {"removed": True}


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
