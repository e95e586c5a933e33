"""On the board: what it is. Changes nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from typing import Any

NVIDIA_PACKAGES = ("nvidia-jetpack", "tensorrt", "libnvinfer10", "libnvinfer8")


def read(path: str, limit: int = 65536) -> str:
    """A small file's text, or an empty string."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace").replace("\x00", "").strip()
    except OSError:
        return ""


def said(*argv: str, may_fail: bool = False) -> str:
    """What a program writes, or an empty string where it is missing, takes too long, or fails and may not."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
            env=dict(os.environ, LC_ALL="C"),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if may_fail or done.returncode == 0 else ""


def first(*texts: str) -> str:
    """The first that says something."""
    return next((text for text in texts if text), "")


def architecture(bits: int, machine: str) -> str:
    """Of the userland: a 32-bit system often runs on a 64-bit kernel."""
    narrow = {"aarch64": "armv7l", "arm64": "armv7l", "x86_64": "i686", "amd64": "i686"}
    wide = {"arm64": "aarch64", "amd64": "x86_64"}
    return narrow.get(machine, machine) if bits == 32 else wide.get(machine, machine)


def glibc() -> str:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return version if name == "glibc" else ""
    except (AttributeError, OSError, ValueError):
        return ""


def memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def disk_free_bytes(folder: str) -> int:
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder) or "/"
    try:
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize
    except OSError:
        return 0


def os_name() -> str:
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]+)"?', read("/etc/os-release"), re.MULTILINE)
    if pretty:
        return pretty.group(1)
    return " ".join(part for part in (platform.system(), platform.release()) if part)


PLACEHOLDERS = (
    "",
    "0",
    "none",
    "default string",
    "not specified",
    "not applicable",
    "system serial number",
    "to be filled by o.e.m.",
    "0123456789",
)


def usable(text: str) -> str:
    """A serial number that tells one board from another, or an empty string."""
    return "" if text.lower() in PLACEHOLDERS or not text.strip("0") else text


def serial() -> str:
    """The hardware's serial number; where it has none, the installation's id. Chosen as the agent chooses."""
    simulated_serial = os.environ.get("EDGE_SIM_SERIAL_FILE", "")
    if simulated_serial:
        return read(simulated_serial)
    cpu = re.search(r"^Serial\s*:\s*(\S+)", read("/proc/cpuinfo", 1 << 20), re.MULTILINE)
    return first(
        usable(read("/sys/firmware/devicetree/base/serial-number")),
        usable(cpu.group(1) if cpu else ""),
        usable(read("/etc/machine-id")),
        usable(read("/sys/class/dmi/id/product_serial")),
    )


def model() -> str:
    product = read("/sys/class/dmi/id/product_name")
    return first(os.environ.get("EDGE_SIM_MODEL", ""), read("/sys/firmware/devicetree/base/model"), product)


def simulated() -> bool:
    return bool(os.environ.get("EDGE_SIM"))


def sudo() -> str:
    if os.getuid() == 0:
        return "root"
    if simulated() or not shutil.which("sudo"):
        return "none"
    try:
        free = subprocess.run(
            ["sudo", "-k", "-n", "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=20,
            env=dict(os.environ, LC_ALL="C"),
        )
    except (OSError, subprocess.SubprocessError):
        return "none"
    return "free" if free.returncode == 0 else "password"


def memory_cgroup() -> bool:
    """Whether the kernel enforces memory limits: Raspberry Pi OS ships it off."""
    if "memory" in read("/sys/fs/cgroup/cgroup.controllers").split():
        return True
    for line in read("/proc/cgroups").splitlines():
        fields = line.split()
        if fields and fields[0] == "memory":
            mounted = os.path.isdir("/sys/fs/cgroup/memory")
            return mounted and fields[-1] == "1"
    return False


def packages() -> dict[str, str]:
    """Versions of those of Nvidia's Debian packages that are installed, asked in one call: each is dear on a Pi."""
    if not shutil.which("dpkg-query"):
        return {}
    shown = "-f=${db:Status-Status} ${Package} ${Version}\\n"
    text = said("dpkg-query", "-W", shown, *NVIDIA_PACKAGES, may_fail=True)
    lines = [line.split() for line in text.splitlines()]
    return {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "installed"}


def jetpack(installed: dict[str, str]) -> str | None:
    if "nvidia-jetpack" in installed:
        return installed["nvidia-jetpack"]
    match = re.search(r"R(\d+)\D+REVISION:\s*([\d.]+)", read("/etc/nv_tegra_release"))
    return "L4T %s.%s" % match.groups() if match else None


def cuda() -> str | None:
    try:
        return str(json.loads(read("/usr/local/cuda/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        compiler = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    match = re.search(r"release ([\d.]+)", said(compiler, "--version")) if compiler else None
    return match.group(1) if match else None


def tensorrt(installed: dict[str, str]) -> str | None:
    for name in NVIDIA_PACKAGES[1:]:
        if name in installed:
            return installed[name].partition("+")[0].partition("-")[0]
    return None


def lingering(user: str) -> bool:
    return os.path.exists("/var/lib/systemd/linger/" + user)


def facts(folder: str) -> dict[str, Any]:
    bits = 64 if sys.maxsize > 2**32 else 32
    home = os.path.expanduser("~")
    installed = packages()
    try:
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        user = str(os.getuid())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "architecture": architecture(bits, platform.machine()),
        "userland_bits": bits,
        "python": "%d.%d" % sys.version_info[:2],
        "glibc": glibc(),
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory_bytes": memory_bytes(),
        "cores": cores or 1,
        "disk_free_bytes": disk_free_bytes(os.path.join(home, folder)),
        "os": os_name(),
        "model": model(),
        "serial": serial(),
        "kernel": platform.release(),
        "clock": int(time.time()),
        "systemd": read("/proc/1/comm") == "systemd" and not simulated(),
        "sudo": sudo(),
        "memory_cgroup": memory_cgroup(),
        "jetpack": jetpack(installed),
        "cuda": cuda(),
        "tensorrt": tensorrt(installed),
        "simulated": simulated(),
        "user": user,
        "home": home,
        "lingering": lingering(user),
    }


if __name__ == "__main__":
    print("\x1e" + json.dumps(facts(json.loads(sys.stdin.readline())["root"])), flush=True)
