"""What every bed has in common: the board's address, the cache folder, ports, keys, the reasons to skip."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

USER = "pi"
PASSWORD = "raspberry-edge"  # the password of a throw-away account on loopback, no secret
DISK_RESERVE = 8 << 30  # a bed never takes the last 8 GiB of the disk
PORTS = range(20000, 32000)  # below Linux's ephemeral ports, so that no outgoing connection takes ours


class BedUnavailable(Exception):
    """This machine cannot give the bed; the text is the reason that a skipped test shows."""


class BedBroken(Exception):
    """The bed could be had but did not come up: a failure, never a skip."""


@dataclass(frozen=True)
class BedBoard:
    """How to reach a board, and what its host key must be."""

    name: str
    host: str
    port: int
    user: str
    key_path: Path
    password: str | None
    host_key_fingerprint: str
    """As ``ssh-keygen -l`` prints it: ``SHA256:`` and base64 without padding."""


def cache_folder() -> Path:
    """The folder of keys, built images and running boards. It may be gigabytes; it can be deleted."""
    folder = Path(os.environ.get("EDGE_BEDS") or Path.home() / ".cache" / "edge-beds").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_folder(name: str) -> Path:
    """The folder of one running board. Open to all users, since boards have users of their own."""
    folder = cache_folder() / "run" / f"{name}-{os.getpid()}-{random.randrange(16**6):06x}"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder


def bed_key() -> Path:
    """The client key that all beds authorise, made once per cache folder. Its public half is ``.pub``."""
    folder = cache_folder()
    key = folder / "id_ed25519"
    with locked(folder / "key.lock"):
        if not key.exists():
            make_key(key)
    return key


def make_key(path: Path) -> None:
    """A fresh ed25519 key pair without passphrase."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "edge-bed", "-f", str(path)])


def fingerprint(public_key: Path) -> str:
    """``SHA256:…`` of a public key file."""
    return run(["ssh-keygen", "-l", "-E", "sha256", "-f", str(public_key)]).split()[1]


def free_port() -> int:
    """A loopback port that nobody listens on now, outside the ephemeral range."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BedBroken("200 random loopback ports were all taken")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that parallel test runs build a thing once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(argv: Sequence[str], *, stdin: str | None = None, timeout: float = 1800, **options: object) -> str:
    """Run a build step and return its output; a failure shows the end of what it said."""
    done = subprocess.run(
        list(argv),
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-2000:]
        raise BedBroken(f"{argv[0]} ended with {done.returncode}: {said}")
    return str(done.stdout)


# -- what a bed needs ---------------------------------------------------------------------------------


def need_linux_root(bed: str) -> None:
    """Containers, loop-free image building and chroots need root on Linux."""
    if not sys.platform.startswith("linux"):
        raise BedUnavailable(f"{bed} needs Linux, this is {sys.platform}")
    if os.geteuid() != 0:
        raise BedUnavailable(f"{bed} needs root, this is user {os.geteuid()}")


def need_disk(bed: str, folder: Path, growth: int) -> None:
    """Refuse to go below the reserve."""
    free = shutil.disk_usage(folder).free
    if free < DISK_RESERVE + growth:
        raise BedUnavailable(
            f"{bed} needs {(DISK_RESERVE + growth) / 2**30:.1f} GiB free in {folder}, "
            f"there are {free / 2**30:.1f}"
        )


def need_tools(bed: str, tools: dict[str, str]) -> None:
    """Look for programs; ``tools`` maps each to the Debian package that has it."""
    missing = sorted({package for tool, package in tools.items() if not find_tool(tool)})
    if missing:
        raise BedUnavailable(
            f"{bed} lacks the packages {' '.join(missing)}: run `python -m tests.beds install`"
        )


def find_tool(name: str) -> str | None:
    """A program by name, also in the sbin folders that a user's PATH may leave out."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


# -- processes of a bed ------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def own_network(pid: int, *, seconds: float = 10) -> Path:
    """The network namespace of a process, once it has left ours. Never ours: that would be this machine."""
    theirs, ours = Path(f"/proc/{pid}/ns/net"), Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if theirs.readlink() != ours:
                return theirs
        time.sleep(0.02)
    raise BedBroken(f"process {pid} did not get a network of its own")


def remember_process(folder: Path, pid: int) -> None:
    """Note a board's process with its start time, so that ``sweep`` can end it after a killed test run."""
    (folder / "process").write_text(f"{pid} {_started(pid)}\n")


def sweep() -> list[str]:
    """End and remove boards whose test run is gone. Returns their names."""
    gone = []
    for folder in (cache_folder() / "run").glob("*-*-*"):
        owner = folder.name.split("-")[-2]
        if not owner.isdigit() or Path(f"/proc/{owner}").exists() or sys.platform != "linux":
            continue
        with contextlib.suppress(OSError, ValueError):
            pid, started = map(int, (folder / "process").read_text().split())
            if _started(pid) == started:  # the number was not given to another process since
                for victim in (*children(pid), pid):
                    os.kill(victim, signal.SIGKILL)
        time.sleep(0.2)
        for point in reversed(mounts_below(folder)):
            run(["umount", point])
        remove_groups(folder.name)
        remove_tree(folder)
        gone.append(folder.name)
    return gone


def groups(name: str) -> list[Path]:
    """The control groups of a container, one in each tree that can hold them (cgroup v1, v2 or both)."""
    trees = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))
    return [tree / name for tree in trees if (tree / "cgroup.procs").exists()]


def remove_groups(name: str) -> None:
    """Remove a container's empty control groups; that only goes from the inside out."""
    for group in groups(name):
        if group.exists():
            for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                inner.rmdir()
            group.rmdir()


def _started(pid: int) -> int:
    """A process's start, in clock ticks since boot; -1 where that is unknown."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return -1


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or under a folder, outer before inner. None may be there when it is copied."""
    prefix = str(folder.resolve())
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:  # macOS
        return []
    points = [line.split()[1].replace("\\040", " ") for line in lines]
    return [point for point in points if point == prefix or point.startswith(prefix + "/")]


def remove_tree(folder: Path) -> None:
    """Delete a tree, but never through a mount."""
    if left := mounts_below(folder):
        raise BedBroken(f"not deleting {folder}, mounted there: {left}")
    shutil.rmtree(folder, ignore_errors=True)


# -- waiting ------------------------------------------------------------------------------------------


def ssh_argv(board: BedBoard, *command: str) -> list[str]:
    """The OpenSSH client's command line for a board. The key is accepted unseen: for the bed's own checks."""
    return [
        "ssh", "-i", str(board.key_path), "-p", str(board.port), "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
        "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10", "-F", "none",
        f"{board.user}@{board.host}", *command,
    ]  # fmt: skip


def wait_for_login(board: BedBoard, *, seconds: float, alive: Callable[[], bool], log: Path) -> float:
    """Wait until the user can log in and run a command; return how long it took."""
    start = time.monotonic()
    argv = ssh_argv(board, "true")
    said = ""
    while (passed := time.monotonic() - start) < seconds:
        if not alive():
            raise BedBroken(f"{board.name} died while it came up: {tail(log)}")
        if greets(board):  # an emulated board's key exchange is dear: ask only once sshd answers
            try:
                done = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
                )
            except subprocess.TimeoutExpired:
                continue
            if done.returncode == 0:
                return passed
            said = done.stderr.strip()
        time.sleep(0.2)
    raise BedBroken(f"no login on {board.name} after {seconds:.0f} s ({said or 'no greeting'}): {tail(log)}")


def greets(board: BedBoard) -> bool:
    """Whether an SSH server says its first line. A forwarder may accept where nobody is behind it."""
    with contextlib.suppress(OSError), socket.create_connection((board.host, board.port), timeout=5) as link:
        return link.recv(4) == b"SSH-"
    return False


def tail(log: Path, characters: int = 1500) -> str:
    """The end of a log, for an error message."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else f"no log at {log}"
