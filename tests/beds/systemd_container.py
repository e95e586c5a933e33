"""A Debian container with systemd as process 1, sshd, Python and a sudo that asks for the password.

For what needs real units: enrolment, the updater's path unit, restarts, watchdogs, lingering. The
container has a network of its own with loopback only, so it has no internet and no address; a relay
in the test's process (`link.Link`) leads from a loopback port of this machine to its sshd.

Known limits: the kernel is this machine's, memory limits may not be enforced (cgroup v1 hosts), and
a power cut loses no file that a process has written: for these take the emulated board.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from tests.beds.board import (
    PASSWORD,
    USER,
    BedBoard,
    BedBroken,
    bed_key,
    cache_folder,
    children,
    fingerprint,
    free_port,
    groups,
    make_key,
    mounts_below,
    need_disk,
    need_linux_root,
    need_tools,
    own_network,
    remember_process,
    remove_groups,
    remove_tree,
    run,
    run_folder,
    wait_for_login,
)
from tests.beds.debian_root import Root, debian_root, native_architecture
from tests.beds.link import Link

BED = "the systemd bed"
TOOLS = {"systemd-nspawn": "systemd-container", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
BOOT_SECONDS = 120
SCOPES = Path("/run/systemd/system")  # there where systemd is process 1
ENTER_GROUP = """
groups=; while [ "$1" != -- ]; do groups="$groups $1"; shift; done; shift
for group in $groups; do mkdir -p "$group"; echo $$ > "$group/cgroup.procs"; done
exec "$@"
"""


def prepare(suite: str = "bookworm") -> Root:
    """The shared, never written root file system; built on first use (one to three minutes)."""
    need_linux_root(BED)
    need_tools(BED, TOOLS)
    need_disk(BED, cache_folder(), 1 << 30)
    return debian_root(cache_folder(), architecture=native_architecture(), suite=suite, nopasswd=False)


class SystemdContainer:
    """One container, written to a layer of its own over the shared root. A context manager."""

    def __init__(self, name: str, *, suite: str = "bookworm") -> None:
        self.name = name
        self._lower = prepare(suite).tree
        self.folder = run_folder(name)
        self.log = self.folder / "console.log"
        self.root = self.folder / "root"
        """The container's files as this machine sees them while it runs."""
        self._upper = self.folder / "upper"
        self._port = free_port()
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._relay: Link | None = None
        self._lay_out()

    @property
    def board(self) -> BedBoard:
        """The address, the same after each boot."""
        return BedBoard(
            name=self.name,
            host="127.0.0.1",
            port=self._port,
            user=USER,
            key_path=bed_key(),
            password=PASSWORD,
            host_key_fingerprint=fingerprint(self._upper / "etc/ssh/ssh_host_ed25519_key.pub"),
        )

    def power_on(self) -> None:
        """Give it power; wait for process 1 alone."""
        layers = f"lowerdir={self._lower},upperdir={self._upper},workdir={self.folder / 'work'}"
        run(["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)])
        with self.log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        remember_process(self.folder, self._nspawn.pid)
        try:
            self._relay = Link(22, port=self._port, namespace=own_network(self._leader()))
            self._relay.start()
        except BaseException:
            self.power_cut()
            raise

    def start(self) -> float:
        """Boot; return the seconds until the user could log in."""
        self.power_on()
        try:
            return wait_for_login(self.board, seconds=BOOT_SECONDS, alive=self._alive, log=self.log)
        except BaseException:
            self.power_cut()
            raise

    boot = start

    def power_cut(self) -> None:
        """Kill every process of the container at once; its files stay."""
        if self._nspawn is not None and self._alive():
            for pid in children(self._nspawn.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._gone(seconds=30)

    def shut_down(self) -> None:
        """Power off in order, as `poweroff` does; its files stay."""
        if self._nspawn is not None and self._alive():
            self._nspawn.terminate()
        self._gone(seconds=120)

    def stop(self) -> None:
        """Take the container away, files and all."""
        self.power_cut()
        remove_tree(self.folder)

    def __enter__(self) -> SystemdContainer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- how it is made -------------------------------------------------------------------------------

    def _alive(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is None

    def _leader(self) -> int:
        """The container's process 1, which is nspawn's only child that stays."""
        assert self._nspawn is not None
        for _ in range(500):
            for pid in children(self._nspawn.pid):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                        return pid
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(timeout=0.02)
                break
        raise BedBroken(f"{self.name} did not start: {self.log.read_text(errors='replace')[-1500:]}")

    def _gone(self, *, seconds: float) -> None:
        """Wait for the container's end, then take its mount and its relay away."""
        if self._relay is not None:
            self._relay.stop()
            self._relay = None
        if self._nspawn is not None:
            try:
                self._nspawn.wait(timeout=seconds)
            except subprocess.TimeoutExpired as error:
                self._nspawn.kill()
                raise BedBroken(f"{self.name} did not end within {seconds:.0f} s") from error
            self._nspawn = None
        for point in reversed(mounts_below(self.root)):
            run(["umount", point])
        remove_groups(self.folder.name)

    def _lay_out(self) -> None:
        """Give the container its identity: host key, machine id, name, and who may log in."""
        for folder in (self.root, self.folder / "work", self._upper / "etc/ssh", self._upper / "home"):
            folder.mkdir(parents=True)
        key = self._upper / "etc/ssh/ssh_host_ed25519_key"
        make_key(key)
        (self._upper / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        (self._upper / "etc/hostname").write_text(self.name + "\n")
        (self._upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        home = self._lower / "home" / USER
        owner = home.stat()
        copy = self._upper / "home" / USER
        shutil.copytree(home, copy)
        (copy / ".ssh").mkdir(mode=0o700)
        (copy / ".ssh/authorized_keys").write_text(bed_key().with_suffix(".pub").read_text())
        (copy / ".ssh/authorized_keys").chmod(0o600)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)

    def _argv(self) -> list[str]:
        """The command line; it ends in nspawn itself, in control groups that no other container shares.

        Two containers in one group would count each other's processes as their own services'. Where this
        machine runs systemd, nspawn asks it for a scope; elsewhere the groups are made here.
        """
        own = (
            []
            if SCOPES.exists()
            else ["sh", "-ec", ENTER_GROUP, "enter", *map(str, groups(self.folder.name)), "--"]
        )
        keep = [] if SCOPES.exists() else ["--keep-unit"]
        return [
            *own, "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}",
            f"--machine={self.folder.name}",  # one of a kind, while names of boards repeat
            f"--hostname={self.name}", "--private-network", "--register=no", *keep,
            "--resolv-conf=off", "--timezone=off", "--console=pipe",
        ]  # fmt: skip
