"""On the board: remove a board folder that was staged and never enrolled, and what a wipe that was cut short left.

A wipe gives the folder another name before it empties it (`agent.update.files.temporary_beside`): what a power cut
leaves then has no launcher that could remove it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import Any


def is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def left_of_a_wipe(root: str) -> list[str]:
    above, name = os.path.split(root)
    pattern = re.compile(r"\.new-%s-[0-9a-f]{8}\Z" % re.escape(name[:60]))
    found = os.listdir(above) if os.path.isdir(above) else []
    return [os.path.join(above, entry) for entry in sorted(found) if pattern.match(entry)]


def remove(path: str) -> None:
    """Objects are sealed: a folder is made writable before what is in it goes. Root needs no leave, and could be led
    elsewhere: a folder of the inbox may become a link at any moment."""
    if os.geteuid() == 0:
        shutil.rmtree(path)
        return
    os.chmod(path, 0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(path)


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = request["root"].rstrip("/")
    staged = is_folder(root) and set(os.listdir(root)) <= {"inbox"}
    for path in [*([root] if staged else []), *left_of_a_wipe(root)]:
        if is_folder(path):
            remove(path)
    return {"left": os.path.lexists(root)}


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
