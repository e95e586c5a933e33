"""The programs that a supervisor keeps: started, seen to end, ended.

The rule: a child is known by its process id, so that it stays a child when the supervisor executes itself anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

STOP_S = 10.0
HEALTHY_S = 30.0
"""An agent that ran this long and ends is started again at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
NEVER = float("inf")


@dataclass
class Child:
    """One program that the supervisor keeps, by process id; None while it does not run.

    `started` and `until` are on the monotonic clock: at `until` it is ended for being hung.
    """

    name: str
    pid: int | None = None
    started: float = 0.0
    until: float = NEVER
    pause_s: float = FIRST_PAUSE_S
    not_before: float = 0.0
    log: Path = field(default=Path())

    def start(self, command: list[str], environment: dict[str, str], *, timeout_s: float) -> None:
        """Start it; it has `timeout_s` until it must have said that it lives."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own launcher
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment
            )
        self.pid, self.started = process.pid, time.monotonic()
        self.until = self.started + timeout_s
        process.returncode = 0  # reaped by `reap`, whoever started it

    def reap(self) -> int | None:
        """The exit code when it has ended since the last look, negative for a signal; else None."""
        if self.pid is None:
            return None
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if not pid:
            return None
        self.pid, self.until = None, NEVER
        return os.waitstatus_to_exitcode(status)

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, or None when it has not ended in time."""
        until = time.monotonic() + timeout_s
        while self.pid is not None:
            code = self.reap()
            if code is not None:
                return code
            if time.monotonic() > until:
                return None
            time.sleep(0.02)
        return None

    def end(self) -> None:
        """Ask it to end, then insist."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.tell(number)
            self.wait(STOP_S)

    def end_when_hung(self) -> None:
        """Kill it when its time is over. Once: what the kernel does not let go of is not shouted at."""
        if self.pid is not None and time.monotonic() > self.until:
            sys.stderr.write(f"`{self.name}` gave no sign of life in time; it is ended\n")
            self.tell(signal.SIGKILL)
            self.until = NEVER

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, where it runs."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def pause(self) -> None:
        """Do not start it again before some time, which doubles."""
        self.not_before = time.monotonic() + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)

    def at_once(self) -> None:
        """It may be started again without a pause."""
        self.not_before, self.pause_s = 0.0, FIRST_PAUSE_S
