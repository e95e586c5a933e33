"""On the board: read the link's files; write `link/link.json`, and end the session that held the old port.

A laptop that slept or moved leaves its old session behind: sshd does not know yet that nobody is there, and the agent
still speaks into its port. It is ended only when it is this user's own, really an sshd session without a terminal, not
this one, and the old port is still listened on.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import sys
import time
from typing import Any

LIMIT = 1 << 20
LISTENS = "0A"
END_S = 2.0


def read(path: str) -> str | None:
    """A plain file's text, or None."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        return file.read(LIMIT)


def parent(pid: int) -> int:
    fields = (read("/proc/%d/stat" % pid) or "").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def user_of(pid: int) -> int:
    """Effective user of a process, or -1. The owner of its folder in /proc is root's where it changed its user."""
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", read("/proc/%d/status" % pid) or "", re.MULTILINE)
    return int(found.group(1)) if found else -1


def is_session(pid: int) -> bool:
    """Whether it is an sshd session of this user without a terminal."""
    if (read("/proc/%d/comm" % pid) or "").strip() not in ("sshd", "sshd-session"):
        return False
    title = (read("/proc/%d/cmdline" % pid) or "").replace("\0", " ").strip()
    name = pwd.getpwuid(os.getuid()).pw_name
    return user_of(pid) == os.geteuid() and title.endswith(": %s@notty" % name)


def own_session() -> int | None:
    """The sshd session that this script runs in."""
    pid = os.getppid()
    while pid > 1:
        if is_session(pid):
            return pid
        pid = parent(pid)
    return None


def listened(port: int) -> bool:
    """Whether somebody listens on this port of the loopback."""
    ending = ":%04X" % port
    for line in (read("/proc/net/tcp") or "").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ending) and fields[3] == LISTENS:
            return True
    return False


def old_port(link: dict[str, Any]) -> int:
    found = re.search(r":(\d{1,5})$", str(link.get("url", "")))
    return int(found.group(1)) if found else 0


def end_old(link: dict[str, Any], own: int | None) -> int | None:
    """End the session that the old link names, when it still holds its port; its process id, or None."""
    pid, port = link.get("session"), old_port(link)
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 2 or pid == own:
        return None
    if not is_session(pid) or not listened(port):
        return None
    until = time.monotonic() + END_S
    number = signal.SIGTERM
    while is_session(pid) and listened(port):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if time.monotonic() > until:
            number = signal.SIGKILL
        time.sleep(0.02)
    return pid


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
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def main(request: dict[str, Any]) -> dict[str, Any]:
    root = os.path.expanduser(request["root"])
    path = os.path.join(root, "link", "link.json")
    text = read(path)
    answer: dict[str, Any] = {
        "folder": os.path.isdir(os.path.dirname(path)),
        "public_key": read(os.path.join(root, "mqtt.pub")),
        "link": text,
        "ended": None,
        "written": False,
    }
    if "link" not in request:
        return answer
    try:
        old = json.loads(text or "{}")
    except ValueError:
        old = {}
    own = own_session()
    link = dict(request["link"], session=own if request["tunnel"] else None)
    answer["ended"] = end_old(old if isinstance(old, dict) else {}, own)
    if link != old:
        write(path, json.dumps(link, indent=1) + "\n")
        answer["written"] = True
    return answer


if __name__ == "__main__":
    print("\x1e" + json.dumps(main(json.loads(sys.stdin.buffer.readline()))), flush=True)
