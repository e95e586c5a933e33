"""Processes that a file in `run/` tells of.

The rule: one counts only where it lives and runs as the user who wrote the file, so that nobody points root at somebody
else's; it is ended only where our launcher started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from agent.plain_file import read_owned

LOOK_S = 0.05


def process_told(path: Path) -> dict[str, Any]:
    """The JSON object at `path` where its `pid` is that of a live process of the file's owner; else an empty one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        owner, content = read_owned(path)
        told: dict[str, Any] = json.loads(content)
        if _user_of(int(told["pid"])) == owner:
            return told
    return {}


def start_ticks(pid: int) -> int | None:
    """When a process was started, in the kernel's clock ticks since boot; None where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def end_launched(path: Path, launcher: Path, *, patience_s: float) -> None:
    """End the process that the file at `path` tells of, where `launcher` started it: ask, then insist.

    Args:
        path: of a file in `run/`.
        launcher: the board's.
        patience_s: how long it may take each time.
    """
    pid = process_told(path).get("pid")
    if not isinstance(pid, int) or not _started_by(launcher, pid):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + patience_s
        while start_ticks(pid) is not None:
            if time.monotonic() > end:
                break
            time.sleep(LOOK_S)
        else:
            return


def _started_by(launcher: Path, pid: int) -> bool:
    try:
        return os.fsencode(launcher) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _user_of(pid: int) -> int:
    """Effective user of a live process.

    Raises:
        OSError, ValueError: there is none.
    """
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"process {pid} tells no user")
    return int(found[1])
