"""What one board is to be sent: all the signed metadata and manifests of its desired state, and the blobs.

The rule: a push set is one state of the repository. Its files are links of their own, so that neither a publish nor
another board's assignment in the meantime mixes two states.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge import durable


@dataclass(frozen=True, kw_only=True)
class PushSet:
    """Files by the names that they have in the board's inbox.

    Attributes:
        metadata: file name to file, for `inbox/metadata/`.
        targets: relative path, with the hash that TUF puts before the name, to file, for `inbox/targets/`.
        blobs: SHA-256 to file, for `inbox/blobs/`: all that the generation needs; what the board has is not sent.
    """

    metadata: Mapping[str, Path]
    targets: Mapping[str, Path]
    blobs: Mapping[str, Path]


def link_set(
    outbox: Path, *, metadata: Mapping[str, Path], targets: Mapping[str, Path], blobs: Mapping[str, Path]
) -> PushSet:
    """Link metadata and targets into the folder `outbox`, replacing what an earlier push left there.

    Blobs are not linked: they are never replaced by other bytes.
    """
    shutil.rmtree(outbox, ignore_errors=True)
    return PushSet(
        metadata=_link_all(outbox / "metadata", metadata),
        targets=_link_all(outbox / "targets", targets),
        blobs=dict(blobs),
    )


def _link_all(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    linked = {}
    for name, file in files.items():
        linked[name] = folder / name
        durable.make_folder(linked[name].parent)
        _link(file, linked[name])
    return linked


def _link(file: Path, name: Path) -> None:
    """A hard link; a copy where the file system has none."""
    try:
        os.link(file, name)
    except PermissionError:
        shutil.copyfile(file, name)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        shutil.copyfile(file, name)
