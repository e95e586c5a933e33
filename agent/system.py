"""What the kernel says of this board and of a process. Standard library only.

The rule: what a board can't tell is None, never 0. Off Linux (a laptop's proof environment) only what `resource`
knows is told. What is read again and again is opened once and stays open: opening costs more than reading.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import time
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.contract.samples import BoardCounters

PROC = Path("/proc")
SYS = Path("/sys")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TELLING_S = 1.0
"""For whoever keeps this process running to take a word; one that hangs must hang nobody else."""
BELOW_CRITICAL_C = 10.0
LEAST_TRIP_C = 40.0
"""A trip point below it is none: some firmware leaves 0 in what it does not use."""
_TIMEX_BYTES = 256
"""More than `struct timex` has on any system; all zeroes ask and change nothing."""
_TIMEX_UNSYNCHRONISED = 0x40
_TIMEX_ERROR = 5


def tell_systemd(*words: str) -> None:
    """Tell whoever keeps this process running (systemd, or our supervisor in its words), where it listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.settimeout(TELLING_S)
        to.sendto("\n".join(words).encode(), target)


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


def peak_bytes_of(pid: int) -> int | None:
    """The most resident memory that a process ever had, or None where the kernel does not tell."""
    try:
        with (PROC / str(pid) / "status").open("rb") as file:
            return _kilobytes(file.read(), b"VmHWM:") or None
    except OSError:
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


def clock_synchronised() -> bool:
    """Whether something keeps the system clock right. Asked of the kernel itself, so that it does not matter who does
    (timesyncd, chrony, ntpd); False where it does not tell."""
    import ctypes

    ask = _adjtimex()
    if ask is None:
        return False
    answer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ask(answer)
    at = 5 * ctypes.sizeof(ctypes.c_long)  # after `modes` (padded), `offset`, `freq`, `maxerror`, `esterror`
    status = int.from_bytes(answer.raw[at : at + 4], "little")
    return 0 <= state < _TIMEX_ERROR and not status & _TIMEX_UNSYNCHRONISED


@cache
def _adjtimex() -> Any:
    import ctypes

    return getattr(ctypes.CDLL(None), "adjtimex", None)


class BoardReader:
    """The board's counters, read again and again, by any thread.

    Args:
        folder: whose file system's free space is meant.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stat = _KernelFile(PROC / "stat")
        self._memory = _KernelFile(PROC / "meminfo")
        self._own_memory = _KernelFile(PROC / "self" / "statm")
        self._network = _KernelFile(PROC / "net" / "dev")

    @cached_property
    def _zones(self) -> tuple[_KernelFile, ...]:
        # Looked for when first asked for: it takes longer than the agent's start should wait.
        zones = (SYS / "class" / "thermal").glob("thermal_zone*/temp")
        return tuple(_KernelFile(zone) for zone in zones)

    @cached_property
    def _limited_zones(self) -> tuple[tuple[_KernelFile, float], ...]:
        """The zones that the kernel acts upon, each with the temperature where it begins to."""
        zones = (SYS / "class" / "thermal").glob("thermal_zone*")
        limits = ((zone, _limit_c(zone)) for zone in zones)
        return tuple((_KernelFile(zone / "temp"), limit) for zone, limit in limits if limit is not None)

    @cached_property
    def _throttled(self) -> _KernelFile | None:
        nodes = (SYS / "devices" / "platform").glob("soc*/*firmware/get_throttled")
        return next((_KernelFile(node) for node in nodes), None)

    def plain(self) -> dict[str, Any]:
        """The board as a whole, now, as telemetry has it: a `BoardCounters`, ready to be written."""
        memory = self._memory.read()
        total = _kilobytes(memory, b"MemTotal:")
        used = os.times()
        sent, received = self._sent_and_received()
        disk = os.statvfs(self._folder)
        found: dict[str, Any] = {
            "cpu_s": self._cpu_s(),
            "agent_cpu_s": used.user + used.system,
            "memory_used_bytes": total - _kilobytes(memory, b"MemAvailable:"),
            "memory_total_bytes": total,
            "agent_memory_bytes": self._rss_bytes(),
            "disk_free_bytes": disk.f_bavail * disk.f_frsize,
            "uptime_s": time.monotonic(),
        }
        may_be_absent = (
            ("temperature_c", self._temperature_c()),
            ("throttled", self._throttled_flags()),
            ("network_sent_bytes", sent),
            ("network_received_bytes", received),
        )
        for name, value in may_be_absent:
            if value is not None:
                found[name] = value
        return found

    def counters(self) -> BoardCounters:
        """The same as a document of the contract."""
        from agent.contract.samples import BoardCounters  # not before the agent listens: it is large

        return BoardCounters(**self.plain())

    def pressing(self) -> dict[str, Any]:
        """What may strain the board, now: memory, the firmware's flags, and the degrees that it may still gain."""
        memory = self._memory.read()
        total = _kilobytes(memory, b"MemTotal:")
        return {
            "memory_used_bytes": total - _kilobytes(memory, b"MemAvailable:"),
            "memory_total_bytes": total,
            "throttled": self._throttled_flags(),
            "headroom_c": self._headroom_c(),
        }

    def _headroom_c(self) -> float | None:
        found = [
            limit - int(text) / 1000
            for zone, limit in self._limited_zones
            if (text := zone.read(32)).strip(b"-\n ").isdigit()
        ]
        return min(found, default=None)

    def _rss_bytes(self) -> int:
        fields = self._own_memory.read().split(b" ", 2)
        return int(fields[1]) * PAGE_BYTES if len(fields) == 3 else peak_bytes()

    def _cpu_s(self) -> float:
        """All cores' time since the start, without idle and waiting for disks."""
        fields = self._stat.read(256).split(None, 9)
        if len(fields) < 10:
            return 0.0
        user, nice, system, _, _, *rest = map(int, fields[1:9])
        return (user + nice + system + sum(rest)) / TICKS

    def _temperature_c(self) -> float | None:
        """Of the hottest thermal zone, in degrees Celsius."""
        found = [int(text) / 1000 for zone in self._zones if (text := zone.read(32)).strip(b"-\n ").isdigit()]
        return max(found, default=None)

    def _throttled_flags(self) -> str | None:
        """The Raspberry Pi firmware's flags, hexadecimal: bit 0 under-voltage, bit 2 throttled now; None elsewhere."""
        if self._throttled is None:
            return None
        return self._throttled.read(32).decode(errors="replace").strip() or None

    def _sent_and_received(self) -> tuple[int | None, int | None]:
        """Bytes sent and received by all interfaces but the loopback."""
        lines = self._network.read_all().splitlines()[2:]
        if not lines:
            return None, None
        sent = received = 0
        for line in lines:
            name, first, *rest = line.split(None, 10)
            if name != b"lo:":
                received += int(first)
                sent += int(rest[7])
        return sent, received


class _KernelFile:
    """A file of /proc or /sys that stays open; it reads as empty where it is not there or can't be read."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, size_bytes: int = 4096, offset: int = 0) -> bytes:
        if self._descriptor is None:
            return b""
        try:
            return os.pread(self._descriptor, size_bytes, offset)
        except OSError:
            return b""

    def read_all(self) -> bytes:
        """The whole of a file that may be longer than what the kernel gives at once."""
        whole = part = self.read()
        while len(part) > 2048:
            part = self.read(offset=len(whole))
            whole += part
        return whole


def _limit_c(zone: Path) -> float | None:
    """Degrees at which the kernel begins to slow a zone's devices down, or `BELOW_CRITICAL_C` before it would switch
    the board off; None where it does neither."""
    trips: dict[str, float] = {}
    for kind in zone.glob("trip_point_*_type"):
        with contextlib.suppress(OSError, ValueError):
            degrees = int(kind.with_name(kind.name.replace("_type", "_temp")).read_text()) / 1000
            name = kind.read_text().strip()
            if degrees > LEAST_TRIP_C:
                trips[name] = min(degrees, trips.get(name, degrees))
    if "passive" in trips:
        return trips["passive"]
    return trips["critical"] - BELOW_CRITICAL_C if "critical" in trips else None


def _kilobytes(text: bytes, name: bytes) -> int:
    """The field `name` of `/proc/meminfo` in bytes; 0 where there is none."""
    at = text.find(name)
    return int(text[at + len(name) : text.index(b"kB", at)]) * 1024 if at >= 0 else 0
