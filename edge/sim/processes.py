"""The processes of a simulated board: found by the mark in their environment, started and ended as a board's are.

The rule: a process belongs to a board when it was started on it, whatever became of its parent; the mark is in its
environment from birth, so a process of this machine is never taken for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from agent.contract.board import SERVICE_SUPERVISOR, USER_ROOT
from edge.sim.plan import Plan

MARK = "EDGE_SIM_FOLDER"


@dataclass(frozen=True)
class Agent:
    """One life of a board's agent: who it is, where it listens, and the file that says so until another one does."""

    pid: int
    port: int
    file: Path
    written: tuple[int, int]

    def is_over(self) -> bool:
        """Whether the board says something else by now."""
        return _written(self.file) != self.written


def of_board(plan: Plan) -> tuple[int, ...]:
    """Numbers of all processes that run on the board now."""
    mark = f"{MARK}={plan.folder}"
    if Path("/proc/self/environ").exists():
        return tuple(pid for pid in _all() if _marked(pid, mark.encode()))
    listed = subprocess.run(["ps", "axEww", "-o", "pid=,command="], capture_output=True, text=True)
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    own = os.getpid()
    return tuple(
        int(line[0]) for line in lines if len(line) == 2 and mark in line[1].split() and int(line[0]) != own
    )


def is_of_board(plan: Plan, pid: int) -> bool:
    """Whether a process runs on the board now."""
    if Path("/proc/self/environ").exists():
        return _marked(pid, f"{MARK}={plan.folder}".encode())
    return pid in of_board(plan)


def kill_all(plan: Plan, *, seconds: float = 10.0) -> int:
    """End every process of the board without a word to any, as a power cut does; how many there were.

    A process may start another while it is being killed, so this looks again until none is left.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + seconds
    while (found := of_board(plan)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.02)
    return len(killed)


def agent(plan: Plan) -> Agent | None:
    """The agent that serves on the board; None where none is, or the one that the board names is gone."""
    file = plan.home / USER_ROOT / "run" / "agent.json"
    written = _written(file)
    try:
        plain = json.loads(file.read_bytes())
        found = Agent(pid=int(plain["pid"]), port=int(plain["port"]), file=file, written=written)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if is_of_board(plan, found.pid) else None


def kill_agent(plan: Plan) -> bool:
    """End the serving agent without a word to it; whether there was one."""
    found = agent(plan)
    if found is None:
        return False
    os.kill(found.pid, signal.SIGKILL)
    return True


def boot(plan: Plan) -> bool:
    """Start what starts when a board boots: edge's supervisor, where edge is installed. Whether it was started."""
    root = plan.home / USER_ROOT
    try:
        service = json.loads((root / "board.json").read_text())["service"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    launcher = root / "bin" / "launch.py"
    if service != SERVICE_SUPERVISOR or not launcher.exists():
        return False
    (root / "run").mkdir(exist_ok=True)
    with (root / "run" / "supervisor.log").open("ab") as log:
        subprocess.Popen(
            [str(plan.folder / "bin" / "python3"), "-I", str(launcher), "--root", str(root), "supervise"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=plan.home,
            env=plan.environment(),
            start_new_session=True,
        )
    return True


def _written(file: Path) -> tuple[int, int]:
    """What changes when a file is replaced; zeros where there is none."""
    try:
        seen = file.stat()
    except OSError:
        return 0, 0
    return seen.st_ino, seen.st_mtime_ns


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _marked(pid: int, mark: bytes) -> bool:
    try:
        if mark not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
