"""The update process's commands: `apply`, `recover`, `status`, `place`, `remove`.

The rule: each returns an exit code of `agent.contract.errors.ExitCode` and raises errors of the tree alone; `place`,
`status` and `remove` import the standard library and the contract only, so that they work before there is a runtime.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config import read_config
from agent.contract.board import BoardConfig
from agent.contract.codec import MAX_DOCUMENT_BYTES, decode
from agent.contract.errors import (
    BoardCloned,
    BoardDiskFull,
    BoardNotFlashed,
    EdgeError,
    ExitCode,
    StateDamaged,
    UpdateRunning,
)
from agent.contract.messages import Reported
from agent.contract.names import check_digest
from agent.contract.runtime import RuntimeManifest
from agent.contract.said import rows
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder
from agent.update.hardware import disk_free_bytes
from agent.update.inbox import Inbox
from agent.update.objects import MARGIN_BYTES, Needed, ObjectStore, read_manifest
from agent.update.record import load
from agent.update.removal import remove
from agent.update.report import read_signed
from agent.update.service import Service, service_of

__all__ = ["apply", "place", "recover", "remove", "status"]


def apply(root: Path, *, files: Files = DISK, service: Service | None = None) -> int:
    """Settle what was interrupted, then verify, stage, check, try, and confirm or refuse what the inbox asks for.

    Args:
        root: the board's folder.
        files: the file system.
        service: who runs the agent; None for what the board was enrolled with.

    Returns:
        0 confirmed or nothing to do, 3 refused or rolled back, otherwise the code of the error.

    Raises:
        UpdateRunning, AgentConfigInvalid, BoardCloned, BoardDiskFull: nothing was looked at, or could be saved.
    """
    from agent.update.deadline import deadlines
    from agent.update.running import UpdateRun, update_lock

    folder = UpdateFolder(root)
    with deadlines() as within, update_lock(folder, files):
        try:
            config = read_config(folder)
            _check_hardware(folder, config, files)
        except EdgeError:
            _drop_request(folder, files)
            raise
        with _saving(folder, files, tell=lambda: (service or service_of(config, folder)).reload()):
            return int(UpdateRun(folder, config, within=within, files=files, service=service).apply())


def recover(root: Path, *, files: Files = DISK, service: Service | None = None) -> int:
    """Settle what was interrupted, quickly, before the agent starts; make the keys where there are none.

    Returns:
        0; also when an update process is at work, which settles by itself.

    Raises:
        AgentConfigInvalid, BoardCloned: nothing was settled.
        BoardDiskFull: nothing could be saved; nothing is left on trial.
    """
    from agent.update.deadline import SETTLE_S, deadlines
    from agent.update.running import UpdateRun, update_lock

    folder = UpdateFolder(root)
    config = read_config(folder)
    try:
        with deadlines() as within, within(SETTLE_S), update_lock(folder, files):
            _check_hardware(folder, config, files)
            with _saving(folder, files):
                UpdateRun(folder, config, waits=False, within=within, files=files, service=service).recover()
    except UpdateRunning as error:
        sys.stderr.write(f"{error}; it settles by itself\n")
    return ExitCode.DONE


def status(root: Path, as_json: bool) -> int:
    """Print what the board last reported: the report's own JSON, or some lines for people.

    Raises:
        BoardNotFlashed: there is no report. StateDamaged: it can't be read.
    """
    folder = UpdateFolder(root)
    signed = read_signed(folder.reported)
    if signed is None:
        raise BoardNotFlashed(device=str(root))
    if as_json:
        sys.stdout.write(signed.payload + "\n")
        return ExitCode.DONE
    reported = decode(Reported, signed.payload.encode())
    sys.stdout.write(f"{reported.device}\n")
    for row in (row for part in rows(reported, int(time.time())).values() for row in part):
        mark = "! " if row.sign in ("doubt", "bad") else "  "
        sys.stdout.write(f"{mark}{row.name:9} {row.text}\n")
    return ExitCode.DONE


def place(root: Path, runtime: str, inbox: Path, *, files: Files = DISK) -> int:
    """Verify a runtime by its hashes and unpack it into `objects/`: for enrolment and for proof environments.

    Args:
        root: the board's folder; `objects/` is made where it is not there.
        runtime: its digest. Its manifest and its layers lie in `inbox/blobs` under their SHA-256.
        inbox: where `blobs/` is.
        files: the file system.

    Raises:
        InboxIncomplete, InboxUnsafe, DigestMismatch, SizeMismatch, ArchiveUnsafe, DocumentInvalid, BoardDiskFull.
    """
    check_digest(runtime, what="runtime")
    folder = UpdateFolder(root)
    files.make_folder(folder.objects)
    store = ObjectStore(folder, Inbox(inbox, files), files)
    data = read_manifest(store.inbox, runtime, limit_bytes=MAX_DOCUMENT_BYTES)
    manifest = decode(RuntimeManifest, data)
    layers = store.missing_layers(manifest)
    needed = [Needed(layer.sha256, layer.size_bytes, f"{layer.name} {layer.version}") for layer in layers]
    store.check_inbox(needed, what="the runtime")
    store.check_room(layers, 0, what="the runtime")
    for layer in layers:
        store.put_layer(layer)
    store.put_runtime(runtime, data)
    return ExitCode.DONE


def _check_hardware(folder: UpdateFolder, config: BoardConfig, files: Files) -> None:
    """See that this is no copy of another board's card; a copy's report is not this board's."""
    from agent.update.identity import check_hardware

    try:
        check_hardware(config)
    except BoardCloned:
        files.remove(folder.reported)
        raise


def _drop_request(folder: UpdateFolder, files: Files) -> None:
    """A request that this board can't look at at all must not start the update process again and again."""
    inbox = Inbox(folder.inbox, files)
    inbox.take_request()
    inbox.end_request()
    files.remove(folder.resume)


def _is_confirmed(folder: UpdateFolder) -> bool:
    """Whether what the link `trial` leads to was confirmed, and only the link `current` is still to be made."""
    try:
        return load(folder).current == folder.linked(folder.trial)
    except StateDamaged:
        return False


@contextmanager
def _saving(folder: UpdateFolder, files: Files, *, tell: Callable[[], None] | None = None) -> Iterator[None]:
    """Where nothing can be saved any more: at least serve what is confirmed. The next run settles the record.

    Args:
        folder: the board's.
        files: the file system.
        tell: tells an agent that may serve what was on trial; None where none runs yet.

    Raises:
        BoardDiskFull: there is no room.
    """
    try:
        yield
    except OSError as error:
        if folder.trial.is_symlink() and not _is_confirmed(folder):
            files.remove(folder.trial)
            if tell is not None:
                tell()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = disk_free_bytes(folder.root)
            raise BoardDiskFull(
                what="the update's state", needed_bytes=MARGIN_BYTES, free_bytes=free
            ) from error
        raise
