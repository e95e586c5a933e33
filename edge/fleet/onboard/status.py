"""On the board: what it reports of itself, now, or at every change until an update has ended. Changes nothing.

`run/` belongs to the agent's user, so what lies there is read as from a stranger: no link is followed, no pipe waited
for, no number taken for a process before it was looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from typing import Any

LOOK_S = 0.2
BEAT_S = 2.0
SHORT = 65536


def read(path: str, limit: int = 8 << 20) -> str | None:
    """A plain file's text, or None where it is none or longer than `limit` characters."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        text = file.read(limit + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else None
    return text if text is not None and len(text) <= limit else None


def digest(path: str) -> str | None:
    """SHA-256 of a small file, or None."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(8 << 20)).hexdigest()
    except OSError:
        return None


def parsed(text: str | None) -> dict[str, Any]:
    try:
        plain = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def alive(pid: Any) -> bool:
    if not isinstance(pid, int) or not 1 <= pid < 1 << 31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def supervised(root: str) -> bool:
    """Whether edge's own supervisor runs; the start time tells it from another process of its number."""
    said = parsed(read(os.path.join(root, "run", "supervisor.json"), SHORT))
    fields = (read("/proc/%s/stat" % said.get("pid")) or "").rpartition(")")[2].split()
    return len(fields) > 19 and fields[0] not in "ZX" and fields[19] == str(said.get("started"))


def status(root: str) -> dict[str, Any]:
    # Before the report: one that is ended after this look has been answered in the report that is read next
    waiting, taken = (
        os.path.exists(os.path.join(root, "inbox", name)) for name in ("request", "request.taken")
    )
    agent = read(os.path.join(root, "run", "agent.json"), SHORT)
    return {
        "there": os.path.exists(os.path.join(root, "bin", "launch.py")),
        "config": read(os.path.join(root, "board.json")),
        "root": digest(os.path.join(root, "root.json")),
        "reported": read(os.path.join(root, "state", "reported.json")),
        "agent": agent,
        "alive": alive(parsed(agent).get("pid")),
        "supervised": supervised(root),
        "waiting": waiting,
        "taken": taken,
        "clock": time.time(),
    }


def ended(found: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether the board has answered the request and has nothing left to do. The report of an earlier look at the
    same request, which was pushed again, is no answer: the board takes a request and ends it when it has answered."""
    report = parsed(parsed(found["reported"]).get("payload"))
    if found["waiting"] or found["taken"]:
        return False
    if report.get("request") != request["request"] or report.get("in_progress"):
        return False
    return report.get("state") in request["ends"]


def watch(root: str, request: dict[str, Any]) -> None:
    last, beat, until = None, time.monotonic(), time.monotonic() + request["seconds"]
    while True:
        found = status(root)
        found["ended"] = ended(found, request)
        seen = (found["reported"], found["agent"], found["alive"])
        now = time.monotonic()
        if seen != last or found["ended"]:
            print("\x1e" + json.dumps(found), flush=True)
            last, beat = seen, now
        elif now - beat > BEAT_S:
            print("\x1e{}", flush=True)
            beat = now
        if found["ended"] or now > until:
            return
        time.sleep(LOOK_S)


def main(request: dict[str, Any]) -> None:
    root = os.path.expanduser(request["root"])
    if "seconds" in request:
        watch(root, request)
    else:
        print("\x1e" + json.dumps(status(root)), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.stdin.buffer.readline()))
