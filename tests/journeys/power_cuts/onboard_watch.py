"""Runs on the board, as root: prints where an update stands, one JSON line at every change.

It goes there through SSH's standard input, so it is standard library only.
"""

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

ROOT = Path("/opt/edge")
PLACES = (".", "state", "state/tuf", "generations", "objects")
LOOK_S = 0.25


def read(path: str) -> dict[str, Any]:
    try:
        return dict(json.loads((ROOT / path).read_bytes()))
    except (OSError, ValueError):
        return {}


def linked(name: str) -> int:
    try:
        return int((ROOT / name).readlink().name)
    except (OSError, ValueError):
        return 0


def temporaries() -> list[str]:
    """Of each place: `+` for what is being made there, `-` for what is being taken away."""
    found = set()
    for place in PLACES:
        for entry in (ROOT / place).glob(".new-*"):
            try:
                state = entry.lstat()
            except OSError:
                continue
            doomed = stat.S_ISDIR(state.st_mode) and stat.S_IMODE(state.st_mode) == 0o700
            found.add(("-" if doomed else "+") + place)
    return sorted(found)


def now() -> dict[str, Any]:
    record, agent = read("state/update.json"), read("run/agent.json")
    return {
        "counter": record.get("counter", 0),
        "state": record.get("state", ""),
        "attempts": record.get("attempts", 0),
        "current": linked("current"),
        "trial": linked("trial"),
        "serving": agent.get("generation", 0) if agent.get("ready") else 0,
        "called": any(os.path.lexists(ROOT / "inbox" / name) for name in ("request", "request.taken")),
        "resume": (ROOT / "state/resume").exists(),
        "temporaries": temporaries(),
    }


def main() -> None:
    last: dict[str, Any] = {}
    while True:
        found = now()
        if found != last:
            last = found
            print(json.dumps(found), flush=True)
        time.sleep(LOOK_S)


main()
