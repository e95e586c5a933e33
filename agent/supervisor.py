"""The agent's own supervisor, where there is no systemd: keeps the agent running, and starts the update process.

The rule: standard library, little memory, no decision about updates: it runs `recover` before the agent, restarts
what ends with back-off, runs one `apply` at a time, and does what it is told by signals. It survives the change of the
runtime that it was started from by executing itself anew, its children kept.

    SIGHUP   tell the agent to serve what the links name; start it where it does not run
    SIGUSR1  end the agent, and start it where a link names a generation
    SIGTERM  end everything
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from agent.config import BoardFolder

LOOK_S = 0.2
STOP_S = 10.0
HEALTHY_S = 30.0
"""An agent that ran this long and ends is started again at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
RECOVER_TIMEOUT_S = 120.0
LOG_BYTES = 1_000_000
CHILDREN = "EDGE_SUPERVISED"
"""Children that were kept over an execution: name to process id, as JSON."""
CALLS = ("request", "request.taken")


@dataclass
class Child:
    """One program that the supervisor keeps, by process id; None while it does not run.

    `started` is on the monotonic clock, `started_at` in seconds since 1970, as the file system's times are; 0 where an
    earlier supervisor started it.
    """

    name: str
    pid: int | None = None
    started: float = 0.0
    started_at: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    not_before: float = 0.0
    log: Path = field(default=Path())


def main(root: Path) -> int:
    """Supervise the board at `root` until SIGTERM.

    Returns:
        0 at the end; 1 when another supervisor is there.
    """
    return Supervisor(root.resolve()).run()


class Supervisor:
    """The supervisor of one board."""

    def __init__(self, root: Path) -> None:
        self._folder = BoardFolder(root)
        self._run = root / "run"
        self._run.mkdir(exist_ok=True)
        self._agent = Child("run", log=self._run / "agent.log")
        self._apply = Child("apply", log=self._run / "update.log")
        self._ends = False
        self._reload = False
        self._restart = False
        self._launched_from = self._runtime()

    def run(self) -> int:
        """See `main`."""
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
            self._trim_logs()
            self._renew(lock)
            time.sleep(LOOK_S)
        self._end(self._apply)
        self._end(self._agent)
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
            self._end(self._agent)
            self._agent.not_before, self._agent.pause_s = 0.0, FIRST_PAUSE_S
        elif self._reload:
            self._reload = False
            if self._agent.pid is None:
                self._agent.not_before, self._agent.pause_s = 0.0, FIRST_PAUSE_S
            elif self._serves_the_links():
                return
            elif self._wanted():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._agent.pid, signal.SIGHUP)
            else:
                self._end(self._agent)

    # --- the agent -------------------------------------------------------------------------------------------------

    def _wanted(self) -> bool:
        return self._folder.trial.is_symlink() or self._folder.current.is_symlink()

    def _serves_the_links(self) -> bool:
        """Whether the agent was started after the links changed last: then it is not to be started anew, which a
        trial would take for a crash. The links lie in the root folder, whose time changes with each of them."""
        return self._agent.started_at > self._folder.root.stat().st_mtime

    def _keep_agent(self) -> None:
        if self._agent.pid is None and self._wanted() and time.monotonic() >= self._agent.not_before:
            self._start(self._agent)

    # --- the update process ----------------------------------------------------------------------------------------

    def _called(self) -> bool:
        """Whether a request waits, or an update that was interrupted."""
        root = self._folder.root
        return (
            any(os.path.lexists(root / "inbox" / name) for name in CALLS) or (root / "state/resume").exists()
        )

    def _keep_apply(self) -> None:
        child = self._apply
        if child.pid is not None or not self._called() or time.monotonic() < child.not_before:
            return
        self._start(child)

    def _recover(self) -> None:
        with self._apply.log.open("ab") as log, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - our own launcher
                self._command("recover"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=RECOVER_TIMEOUT_S,
                check=False,
            )

    # --- children --------------------------------------------------------------------------------------------------

    def _command(self, name: str) -> list[str]:
        root = self._folder.root
        return [sys.executable, "-I", str(self._folder.launcher), "--root", str(root), name]

    def _start(self, child: Child) -> None:
        environment = {name: value for name, value in os.environ.items() if name != CHILDREN}
        with child.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own launcher
                self._command(child.name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
            )
        child.pid, child.started, child.started_at = process.pid, time.monotonic(), time.time()
        process.returncode = 0  # reaped by `_reap`, whoever started it

    def _reap(self) -> None:
        for child in (self._agent, self._apply):
            if child.pid is None:
                continue
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = child.pid, 0
            if pid:
                self._ended(child, status)

    def _ended(self, child: Child, status: int) -> None:
        now = time.monotonic()
        child.pid = None
        sys.stderr.write(f"`{child.name}` ended with status {os.waitstatus_to_exitcode(status)}\n")
        if child is self._apply:
            if not self._called():
                child.pause_s = FIRST_PAUSE_S
                return
        elif now - child.started >= HEALTHY_S:
            child.pause_s = FIRST_PAUSE_S
        child.not_before = now + child.pause_s
        child.pause_s = min(child.pause_s * 2, LONGEST_PAUSE_S)

    def _end(self, child: Child) -> None:
        """End a child: ask, then insist."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)
            until = time.monotonic() + STOP_S
            while child.pid is not None and time.monotonic() < until:
                pid = child.pid
                try:
                    done, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    done = pid
                if done:
                    child.pid = None
                else:
                    time.sleep(0.02)

    def _end_orphan(self) -> None:
        """End an agent that a supervisor which was killed left behind: it holds the port."""
        try:
            pid = int(json.loads(self._folder.running.read_bytes())["pid"])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError, KeyError, TypeError):
            return
        if str(self._folder.launcher) not in command:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            until = time.monotonic() + STOP_S
            while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
                time.sleep(0.05)

    # --- itself ----------------------------------------------------------------------------------------------------

    def _write_pid(self) -> None:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        temporary = self._run / ".supervisor.json.new"
        temporary.write_text(json.dumps({"pid": os.getpid(), "started": int(fields[19])}))
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
        """Execute itself in the runtime that was confirmed, when no update is in progress; children stay children."""
        if (
            self._apply.pid is not None
            or self._called()
            or self._ends
            or self._runtime() == self._launched_from
        ):
            return
        kept = {child.name: child.pid for child in (self._agent,) if child.pid is not None}
        os.environ[CHILDREN] = json.dumps(kept)
        os.close(lock)
        os.execv(sys.executable, self._command("supervise"))  # noqa: S606 - our own launcher

    def _take_over(self) -> bool:
        """Take the children that an execution of itself kept. Whether there was one."""
        text = os.environ.pop(CHILDREN, None)
        if text is None:
            return False
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            for name, pid in json.loads(text).items():
                if name == self._agent.name:
                    self._agent.pid, self._agent.started = int(pid), time.monotonic()
        return True

    def _trim_logs(self) -> None:
        for log in (self._agent.log, self._apply.log, self._run / "supervisor.log"):
            with contextlib.suppress(OSError):
                if log.stat().st_size > LOG_BYTES:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    os.truncate(log, 0)
