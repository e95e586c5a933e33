"""On the board, as root where edge lives in /opt: make the inbox and give it to the user who pushes."""

from __future__ import annotations

import json
import os
import pwd
import sys
from typing import Any


def plain_folder(path: str) -> None:
    """Make one folder where it is missing. A link there would lead root astray, so it is refused."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):
            raise SystemExit(path + " is no plain folder") from None
    handle = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = request["root"]
    inbox = os.path.join(root, "inbox")
    plain_folder(root)
    for path in [inbox] + [os.path.join(inbox, name) for name in ("blobs", "metadata", "targets")]:
        plain_folder(path)
        if os.getuid() == 0:
            owner = pwd.getpwnam(request["user"])
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return {"inbox": inbox}


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
