"""What emulated boards boot from: kernel, initial RAM disk and disk image, made from a root file system.

No loop device, no mount and no bootloader: the disk is written by mke2fs and changed by debugfs.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.beds.board import (
    USER,
    BedBroken,
    cache_folder,
    find_tool,
    locked,
    mounts_below,
    need_disk,
    need_linux_root,
    need_tools,
    remove_tree,
    run,
)
from tests.beds.debian_root import BOARD_PACKAGES, RECIPE, Root, debian_root

BED = "the emulated arm64 board"
DISK_SIZE = 3 << 30  # sparse: only what is written takes room
MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "ext4")  # to reach the root file system
FETCHED = ("linux-image-arm64", "busybox-static")
RUN_TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "debugfs": "e2fsprogs",
    "fdtput": "device-tree-compiler",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
BUILD_TOOLS = {
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "modprobe": "kmod",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
}


@dataclass(frozen=True)
class Image:
    """What every board of one suite boots from."""

    root: Root

    @property
    def folder(self) -> Path:
        return self.root.folder / "board"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"


def prepare(suite: str = "bookworm") -> Image:
    """The image, built on first use: 6 to 12 minutes. ``trixie`` gives Python 3.13."""
    need_tools(BED, RUN_TOOLS)
    cache = cache_folder()
    need_disk(BED, cache, 1 << 30)
    root = Root(cache / f"arm64-{suite}", suite, "arm64")
    image = Image(root)
    if _is_built(image):
        return image  # to run it takes no root
    need_linux_root(BED)
    need_tools(BED, BUILD_TOOLS)
    image = Image(
        debian_root(
            cache, architecture="arm64", suite=suite, nopasswd=True, packages=BOARD_PACKAGES, fetch=FETCHED
        )
    )
    with locked(cache / f"board-{suite}.lock"):
        if not _is_built(image):
            _build_image(image)
    return image


class DiskEditor:
    """Changes files on an ext4 image that is not in use, with debugfs: no mount, no loop device."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._lines: list[str] = []

    def write(self, source: Path, target: str, *, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Put a file there, in place of any older one."""
        self._lines += [f"rm {target}", f"write {source} {target}"]
        self._own(target, 0o100000 | mode, uid, gid)

    def make_folder(self, target: str, *, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Make a folder in one that exists."""
        self._lines.append(f"mkdir {target}")
        self._own(target, 0o040000 | mode, uid, gid)

    def _own(self, target: str, mode: int, uid: int, gid: int) -> None:
        for name, value in (("mode", f"0{mode:o}"), ("uid", uid), ("gid", gid)):
            self._lines.append(f"set_inode_field {target} {name} {value}")

    def __enter__(self) -> DiskEditor:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            run(
                [str(find_tool("debugfs")), "-w", "-f", "-", str(self._disk)],
                stdin="\n".join(self._lines) + "\n",
            )


def _is_built(image: Image) -> bool:
    try:
        return bool(json.loads((image.folder / "built.json").read_text())["recipe"] == RECIPE)
    except (OSError, ValueError, KeyError):
        return False


def _build_image(image: Image) -> None:
    """Kernel, initial RAM disk and disk image from the root file system."""
    started = time.monotonic()
    tree = image.root.tree
    need_disk(BED, tree, 3 << 30)
    remove_tree(image.folder)
    image.folder.mkdir()
    unpacked = image.folder / "unpacked"
    for package in image.root.packages.glob("*.deb"):  # unpacked, not installed: see the trap below
        run(["dpkg-deb", "-x", str(package), str(unpacked)])
    version = _install_modules(unpacked, tree)
    shutil.copy(unpacked / f"boot/vmlinuz-{version}", image.kernel)
    _build_initrd(
        image, version, next(path for path in unpacked.rglob("busybox") if path.parent.name == "bin")
    )
    remove_tree(unpacked)
    _configure(tree)
    if left := mounts_below(tree):
        raise BedBroken(f"not copying {tree}, mounted there: {left}")
    with image.disk.open("wb") as disk:
        disk.truncate(DISK_SIZE)
    run(["nice", str(find_tool("mke2fs")), "-q", "-t", "ext4", "-d", str(tree), str(image.disk)])
    owner = (tree / "home" / USER).stat()
    (image.folder / "user.json").write_text(json.dumps({"uid": owner.st_uid, "gid": owner.st_gid}))
    facts = {"recipe": RECIPE, "kernel": version, "seconds": round(time.monotonic() - started)}
    (image.folder / "built.json").write_text(json.dumps(facts) + "\n")


def _install_modules(unpacked: Path, tree: Path) -> str:
    """Move the kernel's modules into the root.

    The trap: to install the kernel package inside the root would build its initial RAM disk under
    emulation, which takes longer than everything else together.
    """
    modules = next(path for path in unpacked.rglob("modules") if path.parent.name == "lib")
    version = next(modules.iterdir()).name
    target = tree / "usr/lib/modules"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copytree(modules / version, target / version, symlinks=True)
    run([str(find_tool("depmod")), "-b", str(tree), version])
    return version


def _build_initrd(image: Image, version: str, busybox: Path) -> None:
    """The smallest initial RAM disk: busybox loads what it takes to mount the disk, then hands over."""
    tree = image.folder / "initrd.tree"
    for name in ("bin", "dev", "proc", "sys", "new"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/busybox").chmod(0o755)
    names = []
    for module in _modules_in_order(image.root.tree, version):
        name = module.name.removesuffix(".xz")
        data = module.read_bytes()
        (tree / name).write_bytes(lzma.decompress(data) if module.suffix == ".xz" else data)
        names.append(name)
    script = "\n".join([
        "#!/bin/busybox sh", "b=/bin/busybox",
        "$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev",
        *(f"$b insmod /{name}" for name in names),
        "for try in $($b seq 200); do [ -b /dev/vda ] && break; $b sleep 0.1; done",
        "$b mount -t ext4 -o rw /dev/vda /new || { echo the disk cannot be mounted; $b poweroff -f; }",
        "$b umount /proc; $b umount /sys; $b mount -o move /dev /new/dev",
        "exec $b switch_root /new /sbin/init",
    ])  # fmt: skip
    (tree / "init").write_text(script + "\n")
    (tree / "init").chmod(0o755)
    files = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"],
        input=files.encode(), cwd=tree, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    image.initrd.write_bytes(gzip.compress(packed.stdout, 1))
    shutil.rmtree(tree)


def _modules_in_order(tree: Path, version: str) -> list[Path]:
    """The modules to load, each after those it needs."""
    ordered: list[Path] = []
    for name in MODULES:
        said = ""
        with contextlib.suppress(BedBroken):  # built into the kernel
            said = run([str(find_tool("modprobe")), "-d", str(tree), "-S", version, "--show-depends", name])
        for line in said.splitlines():
            path = Path(line.split()[1]) if line.startswith("insmod ") else None
            if path is not None and path not in ordered:
                ordered.append(path)
    return ordered


def _configure(tree: Path) -> None:
    """What a disk needs and a container does not: mounts and the network card."""
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults,commit=5 0 1\n")
    network = tree / "etc/systemd/network/10-bed.network"
    network.write_text("[Match]\nName=e*\n[Network]\nDHCP=ipv4\n")
    units = tree / "etc/systemd/system"
    links = {
        "multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
        "systemd-networkd-wait-online.service": "/dev/null",  # a board without network boots as well
    }
    for name, target in links.items():
        link = units / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
