"""What the kernel says of this board and of a process. Standard library only.

The rule: what a board can't tell is None, never 0. Off Linux (a laptop's proof environment) only what `resource`
knows is told.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.contract.messages import BoardCounters

PROC = Path("/proc")
SYS = Path("/sys")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (None: this one). Off Linux its peak, which is what there is."""
    try:
        with (PROC / str(pid or "self") / "statm").open() as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        if pid is not None:
            raise
        return peak_bytes()


def pss_bytes(pid: int | None = None) -> int | None:
    """Memory of a process with its share of what others use too, or None where the kernel does not tell."""
    try:
        with (PROC / str(pid or "self") / "smaps_rollup").open() as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def peak_bytes() -> int:
    """The most resident memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and kernel, all its threads."""
    with (PROC / str(pid) / "stat").open() as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_limit_bytes() -> int | None:
    """The memory limit that the kernel enforces on this process by its control group, or None when it does not."""
    with contextlib.suppress(OSError, ValueError):
        group = (PROC / "self" / "cgroup").read_text().strip().rpartition("::")[2]
        folder = SYS / "fs" / "cgroup" / group.lstrip("/")
        while folder != SYS / "fs":
            limit = folder / "memory.max"
            if limit.exists() and (text := limit.read_text().strip()) != "max":
                return int(text)
            folder = folder.parent
    return None


def board_counters(folder: Path) -> BoardCounters:
    """The board as a whole, now.

    Args:
        folder: whose file system's free space is meant.
    """
    from agent.contract.messages import BoardCounters  # not before the agent listens: it is large

    memory = _memory()
    used = os.times()
    sent, received = _network()
    disk = os.statvfs(folder)
    return BoardCounters(
        cpu_s=_board_cpu_s(),
        agent_cpu_s=used.user + used.system,
        memory_used_bytes=memory.get("MemTotal", 0) - memory.get("MemAvailable", 0),
        memory_total_bytes=memory.get("MemTotal", 0),
        agent_memory_bytes=rss_bytes(),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        uptime_s=time.monotonic(),
        temperature_c=temperature_c(),
        throttled=throttled(),
        network_sent_bytes=sent,
        network_received_bytes=received,
    )


def temperature_c() -> float | None:
    """Of the hottest thermal zone, in degrees Celsius."""
    found = []
    for zone in (SYS / "class" / "thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(zone.read_text()) / 1000)
    return max(found, default=None)


def throttled() -> str | None:
    """The Raspberry Pi firmware's flags, hexadecimal, bit 0 under-voltage and bit 2 throttled now; None elsewhere."""
    for node in (SYS / "devices" / "platform").glob("soc*/*firmware/get_throttled"):
        with contextlib.suppress(OSError):
            return node.read_text().strip()
    return None


def _memory() -> dict[str, int]:
    found = {}
    with contextlib.suppress(OSError, ValueError), (PROC / "meminfo").open() as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(value.split()[0]) * 1024
    return found


def _board_cpu_s() -> float:
    """All cores' time since the start, without idle and waiting for disks."""
    try:
        with (PROC / "stat").open() as file:
            user, nice, system, _, _, *rest = (int(field) for field in file.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(rest)) / TICKS


def _network() -> tuple[int | None, int | None]:
    """Bytes sent and received by all interfaces but the loopback."""
    sent = received = 0
    try:
        lines = (PROC / "net" / "dev").read_text().splitlines()[2:]
    except OSError:
        return None, None
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) > 8:
            received += int(fields[0])
            sent += int(fields[8])
    return sent, received
