"""The supervisor of one board: its loop, and what it does in each turn.

The rule: no turn waits for a child that hangs; what was on trial when the board went down is served again by the
update process alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from agent.config import BoardFolder
from agent.processes import end_launched, start_ticks
from agent.supervisor.children import HEALTHY_S, NEVER, STOP_S, Child
from agent.supervisor.deadlines import RECOVER_TIMEOUT_S, START_TIMEOUT_S, UPDATE_TIMEOUT_S, WATCHDOG_S
from agent.supervisor.notices import Notices

LOOK_S = 0.2
LOG_BYTES = 1_000_000
CHILDREN = "EDGE_SUPERVISED"
"""What is kept over an execution, as JSON: the agent's process id, the socket that it speaks to, and how often it was
asked to."""
CALLS = ("request", "request.taken")


class Supervisor:
    """The supervisor of one board."""

    def __init__(self, root: Path) -> None:
        self._folder = BoardFolder(root)
        self._run = root / "run"
        self._run.mkdir(exist_ok=True)
        self._agent = Child("run", log=self._run / "agent.log")
        self._apply = Child("apply", log=self._run / "update.log")
        self._watchdog_s: float = WATCHDOG_S
        self._begun_with: tuple[str, ...] | None = None
        self._ends = False
        self._reload = False
        self._restart = False
        self._launched_from = self._runtime()

    def run(self) -> int:
        """See `agent.supervisor.main`."""
        lock = os.open(self._run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("another supervisor runs already\n")
            return 1
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._told)
        kept = self._take_over()
        self._write_pid()
        if not kept:
            self._end_orphan()
            self._recover()
        while not self._ends:
            self._reap()
            self._obey()
            self._keep_agent()
            self._keep_apply()
            self._hear()
            self._trim_logs()
            self._renew(lock)
            time.sleep(LOOK_S)
        self._apply.end()
        self._agent.end()
        self._notices.close()
        (self._run / "supervisor.json").unlink(missing_ok=True)
        return 0

    # --- signals ---------------------------------------------------------------------------------------------------

    def _told(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        elif number == signal.SIGUSR1:
            self._restart = True
        else:
            self._ends = True

    def _obey(self) -> None:
        if self._restart:
            self._restart = self._reload = False
            self._agent.end()
            self._agent.at_once()
        elif self._reload:
            self._reload = False
            if self._agent.pid is None:
                self._agent.at_once()
            elif self._begun_with == self._links():
                return  # it serves them; a trial would take another start for a crash
            elif self._wanted():
                self._begun_with = None
                self._agent.tell(signal.SIGHUP)
            else:
                self._agent.end()

    # --- the agent -------------------------------------------------------------------------------------------------

    def _wanted(self) -> bool:
        return self._folder.trial.is_symlink() or self._folder.current.is_symlink()

    def _links(self) -> tuple[str, ...]:
        """Where the links lead that are there."""
        found = []
        for link in (self._folder.trial, self._folder.current):
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
        return tuple(found)

    def _keep_agent(self) -> None:
        if self._agent.pid is None and self._wanted() and time.monotonic() >= self._agent.not_before:
            self._watchdog_s, self._begun_with = WATCHDOG_S, self._links()
            self._start(self._agent, timeout_s=START_TIMEOUT_S, WATCHDOG_USEC=str(WATCHDOG_S * 1_000_000))

    # --- the update process ----------------------------------------------------------------------------------------

    def _called(self) -> bool:
        """Whether a request waits, or an update that was interrupted."""
        root = self._folder.root
        return (
            any(os.path.lexists(root / "inbox" / name) for name in CALLS) or (root / "state/resume").exists()
        )

    def _keep_apply(self) -> None:
        if self._apply.pid is None and self._called() and time.monotonic() >= self._apply.not_before:
            self._start(self._apply, timeout_s=UPDATE_TIMEOUT_S)

    def _recover(self) -> None:
        """Let what was interrupted be settled. Where that fails, at least nothing is served that was on trial."""
        settling = Child("recover", log=self._apply.log)
        self._start(settling, timeout_s=NEVER)
        if settling.wait(RECOVER_TIMEOUT_S) != 0:
            sys.stderr.write("`recover` failed; what was on trial is not served\n")
            settling.end()
            self._folder.trial.unlink(missing_ok=True)

    # --- children --------------------------------------------------------------------------------------------------

    def _command(self, name: str) -> list[str]:
        root = self._folder.root
        return [sys.executable, "-I", str(self._folder.launcher), "--root", str(root), name]

    def _start(self, child: Child, *, timeout_s: float, **more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != CHILDREN}
        child.start(
            self._command(child.name),
            {**environment, "NOTIFY_SOCKET": self._notices.address, **more},
            timeout_s=timeout_s,
        )

    def _reap(self) -> None:
        for child in (self._agent, self._apply):
            code = child.reap()
            if code is not None:
                self._ended(child, code)

    def _ended(self, child: Child, code: int) -> None:
        sys.stderr.write(f"`{child.name}` ended with status {code}\n")
        if child is self._apply:
            if not self._called():
                child.at_once()
                return
        elif time.monotonic() - child.started >= HEALTHY_S:
            child.at_once()
        child.pause()

    def _hear(self) -> None:
        """Move the deadlines of what lives, and end what does not."""
        for pid, word in self._notices.heard():
            now = time.monotonic()
            name, _, value = word.partition("=")
            if pid == self._agent.pid and name in ("READY", "WATCHDOG"):
                self._agent.until = now + self._watchdog_s
            elif pid == self._apply.pid and name == "EXTEND_TIMEOUT_USEC" and value.isdecimal():
                self._apply.until = now + int(value) / 1e6
        self._agent.end_when_hung()
        self._apply.end_when_hung()

    def _end_orphan(self) -> None:
        """End an agent that a supervisor which was killed left behind: it holds the port."""
        end_launched(self._folder.running, self._folder.launcher, patience_s=STOP_S)

    # --- itself ----------------------------------------------------------------------------------------------------

    def _write_pid(self) -> None:
        temporary = self._run / ".supervisor.json.new"
        temporary.write_text(json.dumps({"pid": os.getpid(), "started": start_ticks(os.getpid())}))
        temporary.replace(self._run / "supervisor.json")

    def _runtime(self) -> str:
        """The runtime that a process started now would run in, as text; changes when `current` moves to another."""
        for path in (self._folder.current / "generation.json", self._folder.root / "bootstrap"):
            try:
                text = path.read_text()
            except OSError:
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(text)["runtime"] if path.name == "generation.json" else text.strip())
        return ""

    def _renew(self, lock: int) -> None:
        """Execute itself in the runtime that was confirmed, when no update is in progress; children stay children.
        That this runtime's supervisor runs was seen before it was confirmed (`agent.update.rehearsal`)."""
        if (
            self._apply.pid is not None
            or self._called()
            or self._ends
            or self._runtime() == self._launched_from
        ):
            return
        kept: dict[str, Any] = {"notices": self._notices.kept(), "watchdog_s": self._watchdog_s}
        if self._agent.pid is not None:
            kept[self._agent.name] = self._agent.pid
        os.environ[CHILDREN] = json.dumps(kept)
        os.close(lock)
        os.execv(sys.executable, self._command("supervise"))  # noqa: S606 - our own launcher

    def _take_over(self) -> bool:
        """Take what an execution of itself kept. Whether there was one. A kept agent that lives says so soon; one that
        knows no socket of ours says nothing, and is not waited for."""
        text = os.environ.pop(CHILDREN, None)
        kept: Any = None
        with contextlib.suppress(ValueError):
            kept = json.loads(text or "{}")
        kept = kept if isinstance(kept, dict) else {}
        pid, socket, watchdog_s = (kept.get(key) for key in (self._agent.name, "notices", "watchdog_s"))
        self._notices = Notices(socket if isinstance(socket, int) else None)
        if isinstance(pid, int):
            self._agent.pid, self._agent.started = pid, time.monotonic()
            if isinstance(socket, int) and isinstance(watchdog_s, (int, float)):
                self._watchdog_s = watchdog_s
                self._agent.until = self._agent.started + watchdog_s
        return text is not None

    def _trim_logs(self) -> None:
        for log in (self._agent.log, self._apply.log, self._run / "supervisor.log"):
            with contextlib.suppress(OSError):
                if log.stat().st_size > LOG_BYTES:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    os.truncate(log, 0)
