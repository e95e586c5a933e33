"""Who runs the agent, and how it is told to serve another generation.

The rule: `reload` asks (the agent drains, then serves what the links name), `restart` insists, `stop` ends it. Each
returns soon; whether the agent then serves is seen on the agent, not here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD_USER, BoardConfig
from agent.contract.errors import InstallFailed
from agent.processes import process_told, start_ticks
from agent.update.folder import UpdateFolder

AGENT_UNIT = "edge-agent.service"
RECOVER_UNIT = "edge-recover.service"
UPDATE_UNIT = "edge-update.service"
UPDATE_PATH_UNIT = "edge-update.path"
UNITS = (UPDATE_PATH_UNIT, UPDATE_UNIT, AGENT_UNIT, RECOVER_UNIT)
"""In the order in which they are stopped."""
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class Service(Protocol):
    """Who runs the agent."""

    def reload(self) -> None:
        """Ask the agent to serve what the links name; start it where it does not run."""

    def restart(self) -> None:
        """End the agent and start it."""

    def stop(self) -> None:
        """End the agent."""


def service_of(config: BoardConfig, folder: UpdateFolder) -> Service:
    """The service that a board was enrolled with."""
    if config.service == SERVICE_SUPERVISOR:
        return Supervisor(folder)
    return Systemd(user=config.service == SERVICE_SYSTEMD_USER)


@dataclass(frozen=True)
class Systemd:
    """systemd, of the system or of a user."""

    user: bool = False

    def reload(self) -> None:
        """See Service."""
        self.call("reset-failed", AGENT_UNIT, may_fail=True)
        self.call("--no-block", "reload-or-restart", AGENT_UNIT)

    def restart(self) -> None:
        """See Service."""
        self.call("kill", "--signal=KILL", AGENT_UNIT, may_fail=True)
        self.call("reset-failed", AGENT_UNIT, may_fail=True)
        self.call("--no-block", "restart", AGENT_UNIT)

    def stop(self) -> None:
        """See Service."""
        self.call("stop", AGENT_UNIT)

    def call(self, *arguments: str, may_fail: bool = False) -> str:
        """Run `systemctl`. Its output.

        Raises:
            InstallFailed: it fails and may not.
        """
        command = ["systemctl", *(["--user"] if self.user else []), *arguments]
        environment = dict(os.environ)
        if self.user:
            environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
        return run_command(command, may_fail=may_fail, environment=environment)


@dataclass(frozen=True)
class Supervisor:
    """Our own supervisor (`agent.supervisor`), told by signals."""

    folder: UpdateFolder

    def reload(self) -> None:
        """See Service."""
        self._tell(signal.SIGHUP)

    def restart(self) -> None:
        """See Service."""
        self._tell(signal.SIGUSR1)

    def stop(self) -> None:
        """See Service. The supervisor starts no agent while no link names a generation."""
        self._tell(signal.SIGUSR1)

    def _tell(self, number: signal.Signals) -> None:
        pid = supervisor_pid(self.folder)
        if pid is None:
            start_supervisor(self.folder)
            return
        os.kill(pid, number)


def units_folder(*, user: bool) -> Path:
    """Where unit files of ours lie."""
    return Path.home() / ".config/systemd/user" if user else Path("/etc/systemd/system")


def supervisor_pid(folder: UpdateFolder) -> int | None:
    """Process id of the live supervisor of this board, or None. A stale file is recognised by the start time."""
    told = process_told(folder.supervisor)
    pid = told.get("pid")
    return pid if isinstance(pid, int) and start_ticks(pid) == told.get("started") else None


def start_supervisor(folder: UpdateFolder) -> None:
    """Start the supervisor as a process of its own that outlives this one, and wait until it is there.

    Raises:
        InstallFailed: it ended at once.
    """
    folder.run.mkdir(exist_ok=True)
    with (folder.run / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own launcher
            [sys.executable, "-I", str(folder.launcher), "--root", str(folder.root), "supervise"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while supervisor_pid(folder) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            reason = f"it ended with status {process.poll()}"
            raise InstallFailed(host=os.uname().nodename, step="starting the supervisor", reason=reason)
        time.sleep(0.05)


def stop_supervisor(folder: UpdateFolder) -> None:
    """End the supervisor and with it the agent; insist when it does not go."""
    pid = supervisor_pid(folder)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while supervisor_pid(folder) == pid or start_ticks(pid) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def run_command(
    command: list[str], *, may_fail: bool = False, environment: dict[str, str] | None = None
) -> str:
    """Run a program of the system with a deadline. Its standard output.

    Raises:
        InstallFailed: it fails, is not there or does not end, and may not.
    """
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs of the system, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            env=environment,
            check=False,
        )
        status, output, reason = done.returncode, done.stdout, done.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        status, output, reason = -1, "", str(error)
    if status and not may_fail:
        step = " ".join(command)
        raise InstallFailed(host=os.uname().nodename, step=f"`{step}`", reason=reason or f"status {status}")
    return output
