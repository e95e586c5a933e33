"""Hand-made shared objects and wheels, for what no real package shows."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edge.runtimes import EngineWheel

MACHINES = {"aarch64": 183, "x86_64": 62}


def shared_object(
    architecture: str = "aarch64", *, alignment: int = 0x10000, glibc: str = "2.17", needs: str = "libc.so.6"
) -> bytes:
    """An ELF file with one loaded segment, one needed library, and one version of symbols wanted of it."""
    strings = b"\0" + needs.encode() + b"\0" + f"GLIBC_{glibc}".encode() + b"\0"
    version_at = 2 + len(needs)
    table, dynamic = 64, 64 + 2 * 56
    strings_at = dynamic + 5 * 16
    wanted_at = strings_at + len(strings)
    wanted = struct.pack("<HHIII", 1, 1, 1, 16, 0) + struct.pack("<IHHII", 0, 0, 2, version_at, 0)
    size = wanted_at + len(wanted)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, MACHINES[architecture], 1, 0, table, 0, 0, 64, 56, 2, 0, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, alignment)
    segments += struct.pack("<IIQQQQQQ", 2, 4, dynamic, dynamic, dynamic, 80, 80, 8)
    entries = ((1, 1), (5, strings_at), (0x6FFFFFFE, wanted_at), (0x6FFFFFFF, 1), (0, 0))
    return header + segments + b"".join(struct.pack("<QQ", *entry) for entry in entries) + strings + wanted


def engine_wheel(
    folder: Path,
    files: Mapping[str, bytes],
    name: str = "onnxruntime_gpu-9.9.0-cp311-cp311-linux_aarch64.whl",
) -> EngineWheel:
    """A wheel of the user's own with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in files.items():
            archive.writestr(entry, data)
    return EngineWheel(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
