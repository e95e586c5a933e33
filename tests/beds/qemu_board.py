"""An emulated arm64 computer: its own kernel, systemd, sshd, cgroup v2 and a disk that outlives a power cut.

For what only a real kernel shows: half-written files after a power cut, memory limits that bite, the
board's architecture, its lack of internet and its clock. It is some hundred times slower than the
machine it runs on: right for correctness, useless for performance.

A power cut is ``kill -9`` of the emulator. It loses what was in the board's memory; it does not lose
what a real drive held in its own write cache.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.beds.board import (
    PASSWORD,
    USER,
    BedBoard,
    BedBroken,
    bed_key,
    find_tool,
    fingerprint,
    free_port,
    make_key,
    remember_process,
    remove_tree,
    run,
    run_folder,
    wait_for_login,
)
from tests.beds.board_image import DiskEditor, prepare

MODEL = "Emulated arm64 board"  # what /proc/device-tree/model says


@dataclass(frozen=True)
class Hardware:
    """The computer to emulate."""

    memory_mb: int = 1024
    cpus: int = 2
    cpu: str = "cortex-a72"  # the Raspberry Pi 4's
    serial: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    """``/proc/device-tree/serial-number``: the same disk with another serial is a cloned card."""
    model: str = MODEL
    internet: bool = False
    """Whether the board reaches beyond itself. Without, the emulator passes the forwarded sshd alone."""
    clock: str | None = None
    """What the hardware clock says at boot, like ``2035-01-01T00:00:00``; None is the right time. A clock
    from before systemd's own release is set to that release by systemd, as on every board without one."""
    kernel_arguments: str = ""
    """Such as ``cgroup_disable=memory``, which Raspberry Pi OS sets."""


class QemuBoard:
    """One board with a disk of its own. A context manager."""

    def __init__(
        self,
        name: str,
        *,
        suite: str = "bookworm",
        hardware: Hardware | None = None,
        disk: Path | None = None,
    ) -> None:
        """``disk`` is another board's disk to be copied, identity and all: a cloned card."""
        self.name = name
        self.hardware = hardware or Hardware()
        self.image = prepare(suite)
        self.folder = run_folder(name)
        self.disk = self.folder / "disk.img"
        self.log = self.folder / "console.log"
        self._port = free_port()
        self._qemu: subprocess.Popen[bytes] | None = None
        run(["cp", "--sparse=always", "--reflink=auto", str(disk or self.image.disk), str(self.disk)])
        if disk is None:
            make_key(self.folder / "host_key")
            self._write_identity()
        else:
            shutil.copy(disk.parent / "host_key.pub", self.folder / "host_key.pub")
        self._describe_hardware()

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
            host_key_fingerprint=fingerprint(self.folder / "host_key.pub"),
        )

    @property
    def pid(self) -> int:
        """The emulator's process."""
        if self._qemu is None:
            raise BedBroken(f"{self.name} is off")
        return self._qemu.pid

    def power_on(self) -> None:
        """Give it power; wait for nothing."""
        with self.log.open("ab") as log:
            self._qemu = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        remember_process(self.folder, self._qemu.pid)

    def start(self, *, seconds: float = 600) -> float:
        """Boot; return the seconds until the user could log in."""
        self.power_on()
        try:
            return wait_for_login(self.board, seconds=seconds, alive=self._alive, log=self.log)
        except BaseException:
            self.power_cut()
            raise

    boot = start

    def power_cut(self) -> None:
        """Take the power away (``kill -9``). The disk stays as it is."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(timeout=60)
            self._qemu = None

    def wait_for_power_off(self, *, seconds: float = 300) -> None:
        """Wait for the board to switch off or reset itself; either way it stays off."""
        if self._qemu is not None:
            self._qemu.wait(timeout=seconds)
            self._qemu = None

    def stop(self) -> None:
        """Take the board away, disk and all."""
        self.power_cut()
        remove_tree(self.folder)

    def __enter__(self) -> QemuBoard:
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
        return self._qemu is not None and self._qemu.poll() is None

    def _machine(self) -> list[str]:
        hardware = self.hardware
        return [
            str(find_tool("qemu-system-aarch64")), "-cpu", hardware.cpu, "-smp", str(hardware.cpus),
            "-m", str(hardware.memory_mb), "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
        ]  # fmt: skip

    def _argv(self) -> list[str]:
        hardware = self.hardware
        restrict = "" if hardware.internet else ",restrict=on"
        console = f"console=ttyAMA0 panic=-1 {hardware.kernel_arguments}".strip()
        clock = ["-rtc", f"base={hardware.clock}"] if hardware.clock else []
        return [
            *self._machine(), "-machine", "virt", "-dtb", str(self.folder / "board.dtb"), *clock,
            "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", console,
            "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=writeback",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self._port}-:22{restrict}",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
        ]  # fmt: skip

    def _describe_hardware(self) -> None:
        """The device tree that the emulator would make, with this board's model and serial number in it."""
        tree = self.folder / "board.dtb"
        run([*self._machine(), "-machine", f"virt,dumpdtb={tree}"], stdin="")
        for name, value in (("model", self.hardware.model), ("serial-number", self.hardware.serial)):
            run([str(find_tool("fdtput")), "-t", "s", str(tree), "/", name, value])

    def _write_identity(self) -> None:
        """Put host key, client key and machine id on the disk; the disk is not mounted for it."""
        key = self.folder / "host_key"
        texts = {
            "machine-id": uuid.uuid4().hex + "\n",
            "hostname": self.name + "\n",
            "hosts": f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n",
        }
        owner = json.loads((self.image.folder / "user.json").read_text())
        with DiskEditor(self.disk) as edit:
            edit.write(key, "/etc/ssh/ssh_host_ed25519_key", mode=0o600)
            edit.write(key.with_suffix(".pub"), "/etc/ssh/ssh_host_ed25519_key.pub", mode=0o644)
            for name, text in texts.items():
                (self.folder / name).write_text(text)
                edit.write(self.folder / name, f"/etc/{name}", mode=0o644)
            home = f"/home/{USER}/.ssh"
            edit.make_folder(home, mode=0o700, **owner)
            edit.write(bed_key().with_suffix(".pub"), f"{home}/authorized_keys", mode=0o600, **owner)
