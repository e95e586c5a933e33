"""The SHA-256 of what is given, file or folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Digest:
    """Of a file; of a folder, that of the names and digests in it, and the sum of their lengths."""

    sha256: str
    size_bytes: int


def digest_of(path: Path) -> Digest:
    """Read it all.

    Raises:
        OSError: it can't be read.
    """
    if path.is_file():
        with path.open("rb") as file:
            return Digest(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
    found, size = hashlib.sha256(), 0
    for inner in sorted(item for item in path.rglob("*") if item.is_file()):
        one = digest_of(inner)
        found.update(f"{inner.relative_to(path).as_posix()}\0{one.sha256}\n".encode())
        size += one.size_bytes
    return Digest(found.hexdigest(), size)
