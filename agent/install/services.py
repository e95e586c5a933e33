"""Who keeps the agent running: systemd of the system, systemd of the user, or our own supervisor.

The rule: what was asked for is arranged where the board can do it; where it can't, the next lesser way, and a note
that says so. An agent that ends at logout or at the next start of the board is never called persistent.
"""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import read_config
from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD, SERVICE_SYSTEMD_USER, BoardConfig
from agent.contract.errors import AgentConfigInvalid, InstallFailed
from agent.install.units import units
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.removal import LINGER_MARK, remove
from agent.update.service import (
    AGENT_UNIT,
    RECOVER_UNIT,
    UPDATE_PATH_UNIT,
    Supervisor,
    Systemd,
    run_command,
    start_supervisor,
    supervisor_pid,
    units_folder,
)


@dataclass(frozen=True)
class Arranged:
    """How the agent will be kept running.

    Attributes:
        config: with the service that it became. persistent: it comes back by itself when the board starts.
        notes: what the user should know.
    """

    folder: UpdateFolder
    config: BoardConfig
    persistent: bool
    notes: tuple[str, ...] = ()

    def start(self) -> None:
        """Start what keeps the agent running, or tell it of a new configuration.

        Raises:
            InstallFailed: it can't be started.
        """
        if self.config.service == SERVICE_SUPERVISOR:
            if supervisor_pid(self.folder) is None:
                start_supervisor(self.folder)
            else:
                Supervisor(self.folder).reload()
            return
        user = self.config.service == SERVICE_SYSTEMD_USER
        systemd = Systemd(user=user)
        for name, text in units(self.folder, self.config, python=python(), user=user).items():
            path = units_folder(user=user) / name
            DISK.make_folder(path.parent)
            DISK.replace(path, text.encode())
        systemd.call("daemon-reload")
        systemd.call("enable", AGENT_UNIT, UPDATE_PATH_UNIT)
        systemd.call("start", RECOVER_UNIT)
        systemd.call("restart", UPDATE_PATH_UNIT)
        systemd.call("--no-block", "reload-or-restart", AGENT_UNIT)


def arrange(folder: UpdateFolder, config: BoardConfig) -> Arranged:
    """Decide who keeps the agent running.

    Raises:
        InstallFailed: systemd of the system was asked for, and is not there or this is not root.
    """
    if config.service == SERVICE_SYSTEMD:
        if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
            reason = "systemd does not run here" if os.geteuid() == 0 else "this is not root"
            raise InstallFailed(host=os.uname().nodename, step="installing the service", reason=reason)
        return Arranged(folder, config, persistent=True)
    if config.service == SERVICE_SYSTEMD_USER:
        lingers, switched_on = _linger()
        if lingers and _user_systemd_answers():
            extra = {**config.extra, LINGER_MARK: True} if switched_on else config.extra
            return Arranged(folder, replace(config, extra=extra), persistent=True)
    note = (
        "edge's own supervisor keeps the agent running; it survives logout, and does not start by itself when the"
        " board starts: flash again then, or install with root"
    )
    return Arranged(folder, replace(config, service=SERVICE_SUPERVISOR), persistent=False, notes=(note,))


def stop_services(folder: UpdateFolder) -> None:
    """End what an earlier enrolment started."""
    try:
        read_config(folder)
    except AgentConfigInvalid:
        return
    remove(folder.root, wipe=False)


def python() -> str:
    """The interpreter for units: the system's own by its plain name, so that a security update does not break it."""
    plain = Path("/usr/bin/python3")
    if plain.exists() and plain.resolve() == Path(sys.executable).resolve():
        return str(plain)
    return sys.executable


def _linger() -> tuple[bool, bool]:
    """Whether the user's services survive logout, and whether that was switched on now."""
    user = getpass.getuser()
    if "yes" in run_command(["loginctl", "show-user", user, "--property=Linger"], may_fail=True):
        return True, False
    run_command(["loginctl", "--no-ask-password", "enable-linger", user], may_fail=True)
    lingers = "yes" in run_command(["loginctl", "show-user", user, "--property=Linger"], may_fail=True)
    return lingers, lingers


def _user_systemd_answers() -> bool:
    try:
        Systemd(user=True).call("show-environment")
    except InstallFailed:
        return False
    return True
