"""On the board: remove a board folder that was staged and never enrolled."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = request["root"]
    staged = os.path.isdir(root) and not os.path.islink(root) and set(os.listdir(root)) <= {"inbox"}
    if staged:
        shutil.rmtree(root)
    return {"left": os.path.lexists(root)}


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
