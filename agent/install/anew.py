"""A board's root of trust is replaced: by the fleet that it joins, or by its own that lost what it had.

The rule: what runs goes on running, whatever is cut. What the earlier trust said (the last signed versions, the
counters, the clock's floor, refusals) goes before the new root comes, so that no root is ever joined with another's
state. `board.json`, which decides whose the board is, is written after this by the caller: until then the board is the
earlier fleet's, and the whole is done again. Generations keep their numbers, and the counter goes on above them.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from agent.contract.errors import StateDamaged, UpdateRunning
from agent.contract.states import UpdateState
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.inbox import METADATA, Inbox
from agent.update.record import CLEAR, UpdateRecord, load, numbers_on_disk, save

UPDATE_WAIT_S = 120.0
"""How long an update that is under way is waited for; it ends by itself."""
POLL_S = 0.2
MOST_ROOTS = 1024
"""More than that no client walks along in one update."""


@contextmanager
def no_update(folder: UpdateFolder, *, wait_s: float = UPDATE_WAIT_S) -> Iterator[None]:
    """Let no update process look at anything meanwhile.

    Raises:
        UpdateRunning: one was still at work after `wait_s` seconds.
    """
    DISK.make_folder(folder.state, mode=0o711)
    descriptor = DISK.open_lock(folder.lock)
    try:
        end = time.monotonic() + wait_s
        while not _held(descriptor):
            if time.monotonic() >= end:
                raise UpdateRunning(pid=os.pread(descriptor, 20, 0).decode(errors="replace").strip())
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def replace_trust(folder: UpdateFolder, root_metadata: bytes) -> None:
    """Trust `root_metadata` and nothing that was trusted before. Called while there is `no_update`."""
    with suppress(
        StateDamaged
    ):  # then `recover` makes a record from what is on the disk, which trusts nobody yet
        save(folder, _trusting_nobody(folder, load(folder)))
    DISK.remove(folder.trial)
    _clear_inbox(folder, after=int(json.loads(root_metadata)["signed"]["version"]))
    DISK.remove_tree(folder.tuf_metadata)
    DISK.replace(folder.tuf_root, root_metadata)


def _clear_inbox(folder: UpdateFolder, *, after: int) -> None:
    """What earlier pushes left: newer roots too, which a client would walk along to keys that are lost."""
    inbox = Inbox(folder.inbox)
    inbox.discard(METADATA, "timestamp.json")
    for version in range(after + 1, after + MOST_ROOTS):
        name = f"{version}.root.json"
        if not os.path.lexists(folder.inbox / METADATA / name):
            return
        inbox.discard(METADATA, name)


def forget_identity(folder: UpdateFolder) -> None:
    """Who the board was: its keys, its last report, what it had to report and to whom."""
    for path in (
        folder.reported,
        folder.device_key,
        folder.device_public_key,
        folder.mqtt_key,
        folder.mqtt_public_key,
        folder.link.parent,
        folder.outbox,
    ):
        DISK.remove_tree(path)


def _trusting_nobody(folder: UpdateFolder, record: UpdateRecord) -> UpdateRecord:
    """The record of a board that runs what it runs, and was asked for nothing yet."""
    state = UpdateState.NONE if record.current is None else UpdateState.CONFIRMED
    return replace(
        record,
        state=record.state if record.state is UpdateState.INCONSISTENT else state,
        counter=max(record.counter, *numbers_on_disk(folder), 0),
        digest="",
        desired=None,
        verified=None,
        attempts=0,
        checks=(),
        trial=None,
        request=None,
        clock_floor=0,
        trust="",
        contact=None,
        contact_version=0,
        bad=(),
        **CLEAR,
    )


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
