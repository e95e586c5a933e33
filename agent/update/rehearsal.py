"""The rehearsal: a new runtime's own agent, update process and supervisor are started on a board that is made for it.

The rule: what would be all that the board has after the confirmation (nobody could take it back then) is seen to
start before. It runs as the user whom the agent runs as, in a folder of its own, on copies, and ends with whoever waits
for it. What a runtime's modules are called is its own affair: it says itself which there must be.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import encode
from agent.update.folder import UpdateFolder
from agent.update.objects import MANIFEST

_PARTS = """\
import importlib, sys
sys.path[:] = sys.argv[1:] + sys.path
import agent.__main__ as runtime
for part in getattr(runtime, "PARTS", ()):
    importlib.import_module(part)
"""
_SUPERVISED = """\
import ctypes, os, signal, subprocess, sys, time
settled, *command = sys.argv[1:]
dies_with_us = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
process = subprocess.Popen(command, preexec_fn=dies_with_us)
while process.poll() is None and not os.path.exists(settled):
    time.sleep(0.05)
time.sleep(0.5)
if process.poll() is not None:
    sys.exit(process.returncode or 1)
process.terminate()
sys.exit(process.wait())
"""
"""Starts a supervisor, lets it settle its board and turn, and asks it to end, which it must."""


@contextmanager
def rehearsals(
    runtime: str, *, folder: UpdateFolder, config: BoardConfig, user: str | None
) -> Iterator[list[tuple[str, list[str]]]]:
    """What is to be run, each with what it is called; each must end with status 0. The folders are gone afterwards.

    Args:
        runtime: digest of the new runtime; it is on the board.
        folder: the board's.
        config: the board's.
        user: whom it runs as; None for the present user.
    """
    layers = _layers(folder, runtime)
    paths = [str(folder.object(layer)) for layer in layers]
    with tempfile.TemporaryDirectory(prefix="edge-rehearsal-") as made:
        place = Path(made)
        objects = [runtime, *layers]
        found, bare = (
            _board(place / name, objects, folder=folder, config=config) for name in ("found", "bare")
        )
        shutil.copytree(folder.generations, found.generations, dirs_exist_ok=True, symlinks=True)
        shutil.copyfile(folder.record, found.record)
        if user is not None:
            _give(place, user)
        commands = [
            ("importing the agent and the update process of the new runtime",
             [sys.executable, "-I", "-S", "-c", _PARTS, *paths]),
            ("starting the update process of the new runtime", _command(found, runtime, "recover")),
        ]  # fmt: skip
        if config.service == SERVICE_SUPERVISOR:
            supervise = _command(bare, runtime, "supervise")
            driver = [sys.executable, "-I", "-S", "-c", _SUPERVISED, str(bare.reported), *supervise]
            commands.append(("starting the supervisor of the new runtime", driver))
        yield commands


def _board(root: Path, objects: list[str], *, folder: UpdateFolder, config: BoardConfig) -> UpdateFolder:
    """A board without generations, whose objects are links: what it reclaims is a link."""
    board = UpdateFolder(root)
    for path in (
        board.launcher.parent,
        board.objects,
        board.generations,
        board.tuf_metadata,
        board.run,
        board.inbox,
    ):
        path.mkdir(parents=True)
    for digest in objects:
        board.object(digest).symlink_to(folder.object(digest))
    shutil.copyfile(folder.launcher, board.launcher)
    shutil.copyfile(folder.tuf_root, board.tuf_root)
    board.bootstrap.write_text(f"{objects[0]}\n")
    board.config.write_bytes(encode(replace(config, service=SERVICE_SUPERVISOR)))
    return board


def _command(board: UpdateFolder, runtime: str, name: str) -> list[str]:
    return [sys.executable, "-I", str(board.launcher), "--root", str(board.root), "--runtime", runtime, name]


def _layers(folder: UpdateFolder, runtime: str) -> list[str]:
    manifest = json.loads((folder.object(runtime) / MANIFEST).read_bytes())
    return [str(layer["sha256"]) for layer in manifest["layers"]]


def _give(place: Path, user: str) -> None:
    """The outermost folder last: before, nobody else can come in and lay a link in the place of what is given."""
    for path in (*place.rglob("*"), place):
        if not path.is_symlink():
            shutil.chown(path, user, user)
