"""Bundles for the engine alone: written to a folder of this machine, or for a while to a board.

The rule: what a load test puts on a board is in a temporary folder, and goes with the test.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.contract.codec import encode
from agent.contract.errors import OptionInvalid, RemoteCommandFailed, TransferError
from agent.contract.release import Release
from edge import bundle
from edge.fleet.connection import Board
from edge.fleet.session import Limits
from edge.rollouts.workspace import Workspace

CHUNK_BYTES = 256 * 1024
STALL_S = 30.0


def unpack(workspace: Workspace, digest: str, folder: Path) -> None:
    """Write a published bundle's files into a folder, each verified.

    Raises:
        FileMissing, DigestMismatch: a file of it is not what it should be.
    """
    manifest = workspace.repository.bundle(digest)
    (folder / bundle.MANIFEST).write_bytes(encode(manifest))
    for entry in manifest.files:
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(workspace.repository.bundle_file(manifest, entry.path))


@contextmanager
def on_board(board: Board, folder: Path) -> Iterator[str]:
    """A folder's files in a temporary folder of the board, for as long as the context lasts.

    Raises:
        RemoteCommandFailed: the board has no room, or no `tar`.
        TransferError: on the way.
    """
    made = board.run(["mktemp", "-d", "/tmp/edge-bench-XXXXXXXX"], doing="making a folder")
    there = made.stdout.decode().strip()
    if made.status != 0 or not there:
        raise RemoteCommandFailed(
            host=board.name, doing="making a folder", status=made.status, output=made.last_words
        )
    try:
        sent = board.stream(
            ["tar", "-xf", "-", "-C", there],
            given=_packed(folder),
            limits=Limits(stall_s=STALL_S),
            doing="sending the bundle",
        )
        if sent.status != 0:
            raise RemoteCommandFailed(
                host=board.name, doing="sending the bundle", status=sent.status, output=sent.last_words
            )
        yield there
    finally:
        with suppress(TransferError):  # a board that is gone keeps it until its next start
            board.run(["rm", "-rf", "--", there], doing="removing the bundle")


def _packed(folder: Path) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(folder, arcname=".")
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def chosen(release: Release, profile: str | None) -> str:
    """The digest of the release's bundle that is meant.

    Raises:
        OptionInvalid: there are several and none is said, or not the one that is.
    """
    if profile is None and len(release.bundles) == 1:
        return next(iter(release.bundles.values()))
    if profile is None or profile not in release.bundles:
        raise OptionInvalid(
            option="--for",
            reason=f"{release.title} has bundles for {', '.join(sorted(release.bundles))}: say which",
        )
    return release.bundles[profile]
