"""The steps of an enrolment, in the order in which a crash between any two can be repeated.

The rule: what decides against it (another fleet, another hardware, a runtime that does not fit) is looked at before
anything is written; the identity is kept unless it was asked to be given up, and what runs is kept unless another
fleet's board is adopted or a copied card gets a new identity. An installer whose laptop went away goes on, so the next
one waits for it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path

from agent.config import read_config
from agent.contract.board import SERVICE_SYSTEMD, BoardConfig
from agent.contract.codec import MAX_DOCUMENT_BYTES, decode, encode
from agent.contract.errors import (
    AgentConfigInvalid,
    BoardCloned,
    BoardForeign,
    DigestMismatch,
    InstallFailed,
    WrongBoard,
)
from agent.contract.install import Enrolment, InstallRequest
from agent.contract.profile import runtime_fits
from agent.contract.runtime import RuntimeManifest
from agent.install.anew import forget_identity, no_update, replace_trust
from agent.install.ownership import give_folders, make_user
from agent.install.services import Arranged, arrange, stop_services
from agent.update.commands import place
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.hardware import facts, serials
from agent.update.inbox import Inbox
from agent.update.objects import read_manifest

LAUNCHER = "agent/launch.py"
KEY_TIMEOUT_S = 180.0


class Kept(Enum):
    """What of a board's earlier life an enrolment keeps."""

    ALL = "all"
    IDENTITY = "what runs and who it is; not whom it trusts"
    RUNNING = "what runs; neither who it is nor whom it trusts"
    NOTHING = "nothing"


def enrol(root: Path, request: InstallRequest) -> Enrolment:
    """Enrol this board.

    Args:
        root: the board's folder, absolute.
        request: what the laptop asks for.

    Raises:
        BoardForeign: it belongs to another fleet. BoardCloned: its identity is another board's.
        WrongBoard: the runtime does not run here.
        InboxIncomplete, DigestMismatch, ArchiveUnsafe, BoardDiskFull: the runtime is not what was promised.
        InstallFailed: a program of the system refuses.
    """
    folder = UpdateFolder(root)
    with _alone(folder):
        return _enrol(folder, request)


@contextmanager
def _alone(folder: UpdateFolder) -> Iterator[None]:
    """Be the only installer of this board."""
    DISK.make_folder(folder.root)
    descriptor = DISK.open_lock(folder.install_lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _enrol(folder: UpdateFolder, request: InstallRequest) -> Enrolment:
    inbox = Path(request.inbox) if request.inbox else folder.inbox
    _check_runtime(folder, request, inbox)
    config, kept = _configuration(folder, request)
    if kept is Kept.NOTHING:
        _forget(folder)
    pusher = request.user if config.service == SERVICE_SYSTEMD else None
    if pusher is not None:
        make_user()
    give_folders(folder, pusher=pusher)
    place(folder.root, request.runtime_digest, inbox)
    _write_launcher(folder, request.runtime)
    DISK.replace(folder.bootstrap, f"{request.runtime_digest}\n".encode())
    arranged = arrange(folder, config)
    config = arranged.config
    _write_belonging(folder, config, kept, root=request.root_metadata.encode(), pusher=pusher)
    public_key = _make_key(folder)
    arranged.start()
    return _enrolment(config, public_key, arranged)


def _check_runtime(folder: UpdateFolder, request: InstallRequest, inbox: Path) -> None:
    stored = folder.object(request.runtime_digest) / "manifest.json"
    data = (
        stored.read_bytes()
        if stored.is_file()
        else read_manifest(Inbox(inbox), request.runtime_digest, limit_bytes=MAX_DOCUMENT_BYTES)
    )
    if decode(RuntimeManifest, data) != request.runtime:
        raise DigestMismatch(
            file="the runtime's manifest", expected=request.runtime_digest, found="another document"
        )
    for reason in runtime_fits(request.runtime, facts(folder.root)):
        made_for, profile = request.runtime.platform, request.config.profile
        raise WrongBoard(artifact="the runtime", made_for=made_for, board=profile, reason=reason.fact)


def _configuration(folder: UpdateFolder, request: InstallRequest) -> tuple[BoardConfig, Kept]:
    """The configuration to be written, and what is kept of the board's earlier life."""
    host, config, shown = os.uname().nodename, request.config, serials()
    if config.serial and shown and config.serial not in shown:
        raise BoardCloned(host=host, enrolled=config.serial, found=shown[0])
    try:
        found = read_config(folder)
    except AgentConfigInvalid:
        return config, Kept.NOTHING if folder.device_key.exists() else Kept.IDENTITY
    foreign = found.fleet != config.fleet
    if foreign and not (request.adopt or request.reset_trust):
        raise BoardForeign(host=host, fleet=found.fleet)
    if (foreign and request.adopt) or request.re_enrol:
        return config, Kept.NOTHING
    if found.serial and shown and found.serial not in shown:
        raise BoardCloned(host=host, enrolled=found.serial, found=shown[0])
    if foreign:
        return config, Kept.RUNNING
    same = replace(config, device=found.device, extra={**found.extra, **config.extra})
    return same, Kept.IDENTITY if request.reset_trust else Kept.ALL


def _forget(folder: UpdateFolder) -> None:
    """End the board's earlier life: identity, trust, generations, what it had to report and to whom. Objects stay; they
    are what their digests say."""
    stop_services(folder)
    for link in (folder.trial, folder.current):
        DISK.remove(link)
    keys = (folder.mqtt_key, folder.mqtt_public_key)
    life = (folder.state, folder.generations, folder.config, folder.tuf_root)
    for path in (*life, *keys, folder.link.parent, folder.outbox):
        DISK.remove_tree(path)


def _write_launcher(folder: UpdateFolder, runtime: RuntimeManifest) -> None:
    source = folder.object(runtime.layers[0].sha256) / LAUNCHER
    if not source.is_file():
        raise InstallFailed(
            host=os.uname().nodename, step="the launcher", reason=f"the agent holds no {LAUNCHER}"
        )
    DISK.replace(folder.launcher, source.read_bytes(), mode=0o755)


def _write_belonging(
    folder: UpdateFolder, config: BoardConfig, kept: Kept, *, root: bytes, pusher: str | None
) -> None:
    """Whom the board trusts, then whose it is. The root is taken once; after that it changes by TUF's own rotation, or
    when the trust is reset on purpose."""
    if kept in (Kept.IDENTITY, Kept.RUNNING):
        with no_update(folder):
            replace_trust(folder, root)
            if kept is Kept.RUNNING:
                forget_identity(folder)
                give_folders(folder, pusher=pusher)
            DISK.replace(folder.config, encode(config))
    else:
        if not folder.tuf_root.is_file():
            DISK.replace(folder.tuf_root, root)
        DISK.replace(folder.config, encode(config))
    DISK.make_folder(folder.tuf_metadata, mode=0o700)


def _make_key(folder: UpdateFolder) -> str:
    """Let the runtime that is in place make the key, with the library that this process does not have."""
    command = [sys.executable, "-I", str(folder.launcher), "--root", str(folder.root), "recover"]
    try:
        done = subprocess.run(  # noqa: S603 - our own launcher
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=KEY_TIMEOUT_S,
            check=False,
        )
        said, ended_well = done.stderr.strip()[-500:], done.returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, ended_well = str(error), False
    if not (ended_well and folder.device_public_key.is_file()):
        raise InstallFailed(
            host=os.uname().nodename, step="starting the runtime", reason=said or "no key was made"
        )
    return folder.device_public_key.read_text(encoding="ascii").strip()


def _enrolment(config: BoardConfig, public_key: str, arranged: Arranged) -> Enrolment:
    return Enrolment(
        device=config.device,
        fleet=config.fleet,
        serial=config.serial,
        public_key=public_key,
        service=config.service,
        persistent=arranged.persistent,
        notes=arranged.notes,
    )
