"""Who may touch what in a board's folder.

The rule: with root, objects and generations belong to root and nobody writes them; the agent's user writes `run`
and the outbox alone; the pushing user writes the inbox and the link alone; keys and the update's state are root's.
Without root, all is one user's. Nothing is made or given inside of what is somebody else's.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from pathlib import Path

from agent.contract.board import SYSTEM_USER
from agent.contract.errors import InstallFailed
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.service import run_command

DEVICE_GROUPS = ("video", "render", "gpio")


def make_user() -> None:
    """The user whom the agent runs as, with the groups of the devices that this system has.

    Raises:
        InstallFailed: it can't be made.
    """
    groups = [name for name in DEVICE_GROUPS if _has_group(name)]
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = [
            "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
            "--shell", shutil.which("nologin") or "/usr/sbin/nologin",
        ]  # fmt: skip
        run_command([*command, *(["--groups", ",".join(groups)] if groups else []), SYSTEM_USER])
        return
    if groups:
        run_command(["usermod", "--append", "--groups", ",".join(groups), SYSTEM_USER])


def give_folders(folder: UpdateFolder, *, pusher: str | None) -> None:
    """Make the folders of a board, and give each to whom it belongs.

    Args:
        folder: the board's.
        pusher: who may write to the inbox and the link, where the rest is root's; None where all is the present user's.

    Raises:
        InstallFailed: there is no such user, or what is in the way is no folder, or is somebody else's.
    """
    for path, mode in (
        (folder.root, 0o755),
        (folder.launcher.parent, 0o755),
        (folder.objects, 0o755),
        (folder.generations, 0o755),
        (folder.state, 0o711),
    ):
        _ours(path, mode)
    agent, owner = (None, None) if pusher is None else (_user(SYSTEM_USER), _user(pusher))
    for path, mode, user in (
        (folder.run, 0o755, agent),
        (folder.outbox, 0o700, agent),
        (folder.inbox, 0o755 if owner is None else 0o700, owner),
        (folder.link.parent, 0o755, owner),
    ):
        _plain_folder(path, mode)
        if user is not None:
            _give(path, user)


def _ours(path: Path, mode: int) -> None:
    """A folder that nobody else writes. What lies in one that somebody else made is not known to be ours."""
    _plain_folder(path, mode)
    if path.stat().st_uid != os.geteuid():
        reason = f"`{path}` belongs to another user; take it away, and flash again"
        raise InstallFailed(host=os.uname().nodename, step="making the folders", reason=reason)


def _plain_folder(path: Path, mode: int) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        host = os.uname().nodename
        raise InstallFailed(host=host, step="making the folders", reason=f"`{path}` is no plain folder")
    DISK.make_folder(path, mode=mode)
    if os.geteuid() in (0, path.stat().st_uid):
        DISK.chmod(path, mode)


def _give(path: Path, owner: pwd.struct_passwd) -> None:
    DISK.give(path, user=owner.pw_uid, group=owner.pw_gid)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        host = os.uname().nodename
        raise InstallFailed(
            host=host, step="making the folders", reason=f"there is no user `{name}`"
        ) from error


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
