"""Debian root file systems for the beds: what a bare board has, and nothing more.

A board has sshd, Python without pip, sudo and systemd. It has no compiler, no rsync and no way to
fetch packages from the internet while a test runs, so that "only sshd and Python" is really tried.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.beds.board import (
    PASSWORD,
    USER,
    BedBroken,
    BedUnavailable,
    locked,
    mounts_below,
    need_disk,
    need_linux_root,
    need_tools,
    remove_tree,
    run,
)

RECIPE = 1  # raise it when what is built below changes: older roots are then built again

# polkitd lets a user without sudo ask for lingering, as on Raspberry Pi OS
PACKAGES: tuple[str, ...] = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "udev", "polkitd",
    "openssh-server", "sudo", "python3", "ca-certificates", "iproute2", "procps", "netbase", "tzdata",
)  # fmt: skip
BOARD_PACKAGES = (*PACKAGES, "kmod", "nftables")  # what only a computer with a kernel of its own can use
GROUPS = ("adm", "dialout", "sudo", "video", "plugdev", "render", "input", "gpio", "i2c", "spi")

# Debian packages of the programs used here, for `python -m tests.beds install`
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "openssl": "openssl",
    "ssh-keygen": "openssh-client",
}
FOREIGN_TOOLS = {
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
}


@dataclass(frozen=True)
class Root:
    """A root file system in the cache."""

    folder: Path
    suite: str
    architecture: str

    @property
    def tree(self) -> Path:
        return self.folder / "root"

    @property
    def packages(self) -> Path:
        """Packages that were fetched beside the root, not installed in it."""
        return self.folder / "packages"


def native_architecture() -> str:
    """Debian's name of this machine's architecture."""
    return run(["dpkg", "--print-architecture"]).strip()


def debian_root(
    cache: Path,
    *,
    architecture: str,
    suite: str = "bookworm",
    nopasswd: bool,
    packages: tuple[str, ...] = PACKAGES,
    fetch: tuple[str, ...] = (),
) -> Root:
    """The root file system of that architecture and suite, built now if it is not in the cache.

    ``fetch`` names packages to download without installing them (a kernel); a name that depends on
    a package it is followed by, like ``linux-image-arm64``, is resolved one step.
    """
    root = Root(cache / f"{architecture}-{suite}", suite, architecture)
    with locked(cache / f"{architecture}-{suite}.lock"):
        if not _is_built(root):
            bed = f"a Debian {suite} root for {architecture}"
            need_linux_root(bed)
            need_disk(bed, cache, 2 << 30)
            need_tools(bed, TOOLS)
            if architecture != native_architecture():
                need_tools(bed, FOREIGN_TOOLS)
                register_emulator(architecture)
            _build(root, packages, fetch, nopasswd)
    return root


def register_emulator(architecture: str) -> None:
    """Let the kernel start programs of another architecture through qemu-user (binfmt_misc)."""
    name = {"arm64": "qemu-aarch64", "armhf": "qemu-arm", "amd64": "qemu-x86_64"}[architecture]
    table = Path("/proc/sys/fs/binfmt_misc")
    if not (table / "register").exists():
        done = subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", str(table)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise BedUnavailable(f"this kernel starts no {architecture} programs: {done.stderr.strip()}")
    entry = table / name
    if not entry.exists():
        run(["update-binfmts", "--enable", name])
    if "enabled" not in entry.read_text():
        raise BedUnavailable(f"{entry} is disabled")


def _is_built(root: Root) -> bool:
    try:
        return bool(json.loads((root.folder / "built.json").read_text())["recipe"] == RECIPE)
    except (OSError, ValueError, KeyError):
        return False


def _build(root: Root, packages: tuple[str, ...], fetch: tuple[str, ...], nopasswd: bool) -> None:
    """Build beside the final place and rename at the end: a half-built root is never used."""
    started = time.monotonic()
    partial = root.folder.with_name(root.folder.name + ".partial")
    remove_tree(partial)
    remove_tree(root.folder)
    making = Root(partial, root.suite, root.architecture)
    making.packages.mkdir(parents=True)
    hooks = [f"--customize-hook={_fetch_hook(making.packages, fetch)}"] if fetch else []
    run(
        ["nice", "mmdebstrap", "--mode=root", f"--arch={root.architecture}",
         "--variant=minbase", "--components=main", f"--include={','.join(packages)}",
         '--aptopt=Acquire::Languages "none"',
         *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")),
         *hooks, root.suite, str(making.tree), debian_mirror()],
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    _settle(making.tree, nopasswd)
    if left := mounts_below(partial):
        raise BedBroken(f"the build left mounts behind: {left}")
    facts = {"recipe": RECIPE, "suite": root.suite, "architecture": root.architecture,
             "seconds": round(time.monotonic() - started)}  # fmt: skip
    (partial / "built.json").write_text(json.dumps(facts) + "\n")
    partial.rename(root.folder)


def debian_mirror() -> str:
    """The mirror that this machine's own apt uses."""
    if not shutil.which("apt-get"):
        raise BedUnavailable(
            "the Debian mirror is taken from apt's own configuration, and there is no apt-get"
        )
    lines = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]).splitlines()
    mirrors = sorted({line.split("|")[2] for line in lines if line.startswith("Debian|Debian|")})
    if not mirrors:
        raise BedUnavailable("apt knows no Debian mirror: run `apt-get update` once")
    return mirrors[0]


def _fetch_hook(folder: Path, names: tuple[str, ...]) -> str:
    """A shell line that downloads packages with the host's apt and the new root's configuration.

    Run by the host and not inside the root, it costs no emulation.
    """
    lines = ["set -e", f"cd {shlex.quote(str(folder))}", "export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG"]
    for name in names:
        lines.append(
            f"real=$(apt-cache depends {name} | awk '/Depends: linux-image-[0-9]/{{print $2; exit}}'); "
            f"apt-get -q download ${{real:-{name}}}"
        )
    return "; ".join(lines)


def _settle(tree: Path, nopasswd: bool) -> None:
    """Turn a plain Debian into a board: the user, sudo, sshd; no key and no identity of its own."""
    hashed = run(["openssl", "passwd", "-6", "-stdin"], stdin=PASSWORD).strip()
    groups = "; ".join(f"groupadd -f -r {name}" for name in GROUPS)
    run(["chroot", str(tree), "sh", "-ec", f"{groups}; useradd -m -s /bin/bash -G {','.join(GROUPS)} -p "
         f"{shlex.quote(hashed)} {USER}"])  # fmt: skip
    if nopasswd:
        _write(tree / f"etc/sudoers.d/010_{USER}-nopasswd", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    _write(tree / "etc/ssh/sshd_config.d/10-bed.conf", "PasswordAuthentication yes\nPermitRootLogin no\n")
    # One small journal on disk, as on a board that must be looked into after a power cut
    (tree / "var/log/journal").mkdir(exist_ok=True)
    _write(
        tree / "etc/systemd/journald.conf.d/10-bed.conf", "[Journal]\nStorage=persistent\nSystemMaxUse=32M\n"
    )
    # Each board gets its own of these when its disk is made
    for path in (tree / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    (tree / "etc/hostname").unlink(missing_ok=True)
    # Housekeeping that would start in the middle of a test and takes long under emulation
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
                 "e2scrub_reap.service", "fstrim.timer"):  # fmt: skip
        (tree / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _write(tree / "etc/machine-id", "")
    # The mirror's address is of this machine, and a board has no internet
    for path in (tree / "etc/apt/sources.list", tree / "etc/resolv.conf"):
        path.unlink(missing_ok=True)
        path.touch()


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
