"""What this machine says of itself: the serial number that identity is bound to, and what decides whether a runtime
runs here.

The rule: a serial is accepted when the machine shows it now, whoever asks: some sources are readable by root only, so
they are compared as a list.
"""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
from pathlib import Path

from agent.contract.profile import BoardFacts

PLACEHOLDERS = frozenset({
    "", "0", "none", "default string", "not specified", "not applicable", "system serial number",
    "to be filled by o.e.m.", "0123456789",
})  # fmt: skip
_PLAIN_FILES = (
    "/sys/firmware/devicetree/base/serial-number",
    "/proc/cpuinfo",
    "/etc/machine-id",
    "/sys/class/dmi/id/product_serial",
)


def serials() -> tuple[str, ...]:
    """Every serial that this machine shows, the best first: board, processor, installation, product.

    On a simulated board (`EDGE_SIM` in the environment) it is what the file named by `EDGE_SIM_SERIAL_FILE` says.
    """
    simulated = os.environ.get("EDGE_SIM_SERIAL_FILE")
    if simulated and os.environ.get("EDGE_SIM"):
        return tuple(_usable(_text(Path(simulated))))
    found: list[str] = []
    for name in _PLAIN_FILES:
        text = _text(Path(name))
        found.extend(_usable(_processor_serial(text) if name == "/proc/cpuinfo" else text))
    return tuple(dict.fromkeys(found))


def facts(root: Path) -> BoardFacts:
    """What this board is, as far as it decides whether a runtime runs here."""
    bits = struct.calcsize("P") * 8
    return BoardFacts(
        architecture=platform.machine(),
        userland_bits=bits,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        glibc=_glibc(),
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cores=os.cpu_count() or 1,
        disk_free_bytes=disk_free_bytes(root),
        os=platform.system(),
        model="",
        serial=next(iter(serials()), ""),
    )


def disk_free_bytes(path: Path) -> int:
    """What may still be written where `path` is or would be."""
    return _disk(path).free


def disk_total_bytes(path: Path) -> int:
    """Size of the file system where `path` is or would be."""
    return _disk(path).total


def _disk(path: Path) -> shutil._ntuple_diskusage:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path)


def _glibc() -> str:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):
        return ""
    return version if name == "glibc" else ""


def _processor_serial(text: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Serial":
            return value
    return ""


def _usable(text: str) -> list[str]:
    serial = text.strip().strip("\0").strip()
    if serial.lower() in PLACEHOLDERS or not serial.strip("0"):
        return []
    return [serial]


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:65536].decode(errors="replace")
    except OSError:
        return ""
