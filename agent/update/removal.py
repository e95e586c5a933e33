"""Taking the agent off a board: services, units, user, folder. Nothing of ours is left.

The rule: everything that this needs is imported before the folder goes, because the folder holds this code; and the
folder goes last, because it tells whoever wipes again after a cut what else there is. Where it has lost its name and
is not gone, the host removes it (`edge/fleet/onboard/clear.py`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agent.config import read_config
from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD_USER, SYSTEM_USER, BoardConfig
from agent.contract.errors import AgentConfigInvalid, ExitCode
from agent.processes import end_launched
from agent.update.files import DISK, leftovers_of
from agent.update.folder import UpdateFolder
from agent.update.service import UNITS, Systemd, run_command, stop_supervisor, units_folder

LINGER_MARK = "lingering"
"""Field of `board.json` that says that enrolment switched lingering on."""
AGENT_GOES_S = 10.0


def remove(root: Path, wipe: bool) -> int:
    """Stop what runs, and take away its units; with `wipe` also the user that was made and the whole folder.

    Raises:
        InstallFailed: a unit can't be stopped.
    """
    folder = UpdateFolder(root)
    try:
        config: BoardConfig | None = read_config(folder)
    except AgentConfigInvalid:
        config = None
    if config is None or config.service == SERVICE_SUPERVISOR:
        stop_supervisor(folder)
    else:
        _remove_units(user=config.service == SERVICE_SYSTEMD_USER)
    end_launched(folder.running, folder.launcher, patience_s=AGENT_GOES_S)
    if not wipe:
        return ExitCode.DONE
    if config is not None and config.extra.get(LINGER_MARK):
        run_command(["loginctl", "disable-linger"], may_fail=True)
    made_user = config is not None and config.service not in (SERVICE_SUPERVISOR, SERVICE_SYSTEMD_USER)
    if made_user and os.geteuid() == 0 and shutil.which("userdel"):
        run_command(["userdel", SYSTEM_USER], may_fail=True)
    if folder.root.is_dir():
        DISK.remove_tree(folder.root)
    for left in leftovers_of(folder.root):
        DISK.remove_tree(left)
    return ExitCode.DONE


def _remove_units(*, user: bool) -> None:
    systemd = Systemd(user=user)
    units = units_folder(user=user)
    there = [name for name in UNITS if (units / name).exists()]
    if there:
        systemd.call("disable", *there, may_fail=True)
        systemd.call("stop", *there, may_fail=True)
    for name in there:
        DISK.remove(units / name)
    systemd.call("daemon-reload", may_fail=True)
    systemd.call("reset-failed", *UNITS, may_fail=True)
