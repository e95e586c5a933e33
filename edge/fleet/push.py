"""One desired state and all that it needs into a board's inbox; the request to look at it comes last.

The rule: the board starts to look only when everything lies there whole, and what it runs it verifies by itself;
so a push that is cut at any byte changes nothing, and the next one goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.contract.errors import DocumentInvalid, FileMissing
from agent.contract.manifest import BUNDLE_SCHEMA
from agent.contract.runtime import RUNTIME_SCHEMA
from edge.fleet.connection import Board
from edge.fleet.upload import Sent, Upload, blob, document, upload
from edge.progress import Progress
from edge.repository.pushset import PushSet

REQUEST = "request"


def push(
    board: Board, root: str, push_set: PushSet, *, request: str, progress: Progress | None = None
) -> Sent:
    """Send metadata, manifests and the blobs that the board lacks; then write `request`.

    Args:
        board: where to.
        root: edge's folder on it.
        push_set: one state of the repository for this board.
        request: text, at most 256 bytes, that the board's report repeats once it was looked at.
        progress: is told of the bytes that the board has written.

    Raises:
        FileMissing: a file of the push set is not here.
        RemoteDiskFull, DigestMismatch, ConnectionLost, DeadlinePassed: as `upload`.
    """
    needed_by, unpacked_bytes = _manifests(push_set)
    uploads: list[Upload] = [
        blob(sha256, path, inside=tuple(sorted(needed_by.get(sha256, ()))))
        for sha256, path in sorted(push_set.blobs.items())
    ]
    uploads += [document(f"targets/{name}", path) for name, path in sorted(push_set.targets.items())]
    uploads += [document(f"metadata/{name}", path) for name, path in sorted(push_set.metadata.items())]
    uploads.append(document(REQUEST, request.encode(), last=True))
    return upload(board, root, uploads, what="the release", progress=progress, spare_bytes=unpacked_bytes)


def _manifests(push_set: PushSet) -> tuple[dict[str, set[str]], int]:
    """Blob to the objects that it becomes part of, and the room that unpacking all of them takes.

    A layer is an object of its own; a bundle's files belong to the bundle. A blob is needed no more when the board
    has every object that it belongs to.
    """
    objects: dict[str, set[str]] = {}
    unpacked: dict[str, int] = {}
    for name, path in push_set.targets.items():
        manifest = _manifest(path)
        if manifest.get("schema") == RUNTIME_SCHEMA:
            for layer in manifest["layers"]:
                objects.setdefault(layer["sha256"], set()).add(layer["sha256"])
                unpacked[layer["sha256"]] = int(layer["unpacked_bytes"])
        elif manifest.get("schema") == BUNDLE_SCHEMA:
            digest = Path(name).name.removesuffix(".json").rpartition(".")[2]
            for entry in manifest["files"]:
                objects.setdefault(entry["sha256"], set()).add(digest)
                unpacked[entry["sha256"]] = int(entry["size_bytes"])
    return objects, sum(unpacked.values())


def _manifest(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FileMissing(file=path, what="the push") from error
    except ValueError as error:
        raise DocumentInvalid(document=f"`{path}`", reason=str(error)) from error
    return plain if isinstance(plain, dict) else {}
