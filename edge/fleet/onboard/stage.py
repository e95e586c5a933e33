"""On the board, as root where edge lives in /opt: make the inbox and give it to the user who pushes.

Inside the inbox that user may change any name at any moment, so a folder is given by its descriptor and not by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import sys
from typing import Any


def plain_folder(path: str, owner: pwd.struct_passwd | None = None) -> None:
    """Make one folder where it is missing, and give it to `owner`. A link there would lead root astray, so it is
    refused."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise SystemExit(path + " is no plain folder") from None
    if owner is not None:
        os.fchown(handle, owner.pw_uid, owner.pw_gid)
    os.close(handle)
    above = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(above)
    os.close(above)


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = request["root"]
    inbox = os.path.join(root, "inbox")
    owner = pwd.getpwnam(request["user"]) if os.getuid() == 0 else None
    plain_folder(root)
    for path in [inbox] + [os.path.join(inbox, name) for name in ("blobs", "metadata", "targets")]:
        plain_folder(path, owner)
    return {"inbox": inbox}


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
