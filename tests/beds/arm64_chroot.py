"""One arm64 program in the board's root file system, run by qemu-user: no boot, and the kernel is ours.

For what needs the architecture alone: does this runtime import, does this engine compute. It starts in
a fraction of a second where the emulated board takes half a minute.

All mounts are made in a mount namespace that ends with the program. There is nothing to unmount, and
nobody who copies or deletes the root meanwhile can walk into /proc.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.beds.board import USER, cache_folder, need_linux_root, need_tools, remove_tree, run_folder
from tests.beds.board_image import FETCHED
from tests.beds.debian_root import (
    BOARD_PACKAGES,
    FOREIGN_TOOLS,
    debian_root,
    native_architecture,
    register_emulator,
)

BED = "the arm64 chroot"
DEVICES = ("null", "zero", "full", "random", "urandom")


def arm64_root(suite: str = "bookworm") -> Path:
    """The root file system that the emulated board has too; built on first use (5 to 10 minutes)."""
    need_linux_root(BED)
    root = debian_root(
        cache_folder(),
        architecture="arm64",
        suite=suite,
        nopasswd=True,
        packages=BOARD_PACKAGES,
        fetch=FETCHED,
    )
    if native_architecture() != "arm64":
        need_tools(BED, FOREIGN_TOOLS)
        register_emulator("arm64")
    return root.tree


def run_arm64(
    root: Path,
    argv: Sequence[str],
    binds: Mapping[Path, str] | None = None,
    *,
    writable: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
    user: str = USER,
    network: bool = False,
    stdin: str | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a program inside the root and return its exit code and what it said.

    Args:
        root: An arm64 root file system. It is not written: changes are in memory and end with the program.
        argv: The program and its arguments; a name without a slash is looked up on the board's PATH.
        binds: Folders or files of this machine, and the absolute path at which the program sees each;
            read-only.
        writable: The same, but the program may write there.
        environment: Variables beside HOME, PATH and LANG; nothing else of this process's environment is seen.
        user: The account inside the root.
        network: Whether the program uses this machine's network; without it has only a loopback of its own.
        stdin: Text for its standard input.
        timeout: Seconds, generous since emulation is slow.

    Raises:
        BedUnavailable: this machine cannot run arm64 programs.
        subprocess.TimeoutExpired: it took too long; it and its children are gone.
    """
    need_linux_root(BED)
    if native_architecture() != "arm64":
        need_tools(BED, FOREIGN_TOOLS)
        register_emulator("arm64")
    folder = run_folder("chroot")
    try:
        lines = _mounts(root, folder, binds or {}, writable or {})
        if not network:
            lines.append("ip link set lo up")
        lines.append(f"exec {shlex.join(_enter(folder / 'root', argv, environment or {}, user))}")
        script = folder / "enter.sh"
        script.write_text("\n".join(lines) + "\n")
        alone = [] if network else ["--net"]
        return subprocess.run(
            ["unshare", "--mount", "--ipc", "--pid", *alone, "--fork", "--kill-child", "sh", str(script)],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    finally:
        remove_tree(folder)


def _mounts(root: Path, folder: Path, binds: Mapping[Path, str], writable: Mapping[Path, str]) -> list[str]:
    """Shell lines that lay a layer in memory over the root and put the binds into it."""
    here = shlex.quote(str(folder))
    lines = [
        "set -e",
        f"mkdir {here}/memory {here}/root",
        f"mount -t tmpfs tmpfs {here}/memory",
        f"mkdir {here}/memory/upper {here}/memory/work",
        f"mount -t overlay -o lowerdir={shlex.quote(str(root))},upperdir={here}/memory/upper,"
        f"workdir={here}/memory/work overlay {here}/root",
        f"mount -t proc proc {here}/root/proc",
        f"mount -t tmpfs -o mode=755 tmpfs {here}/root/dev",
        f"mkdir {here}/root/dev/shm && mount -t tmpfs -o mode=1777 tmpfs {here}/root/dev/shm",
    ]
    for name in DEVICES:
        lines.append(f"touch {here}/root/dev/{name} && mount --bind /dev/{name} {here}/root/dev/{name}")
    for source, inside in (*binds.items(), *writable.items()):
        point = shlex.quote(f"{folder}/root/{inside.lstrip('/')}")
        make = f"mkdir -p {point}" if source.is_dir() else f"mkdir -p $(dirname {point}) && touch {point}"
        lines += [make, f"mount --bind {shlex.quote(str(source.resolve()))} {point}"]
        if source in binds:
            lines.append(f"mount -o remount,bind,ro {point}")
    return lines


def _enter(root: Path, argv: Sequence[str], environment: Mapping[str, str], user: str) -> list[str]:
    home = "/root" if user == "root" else f"/home/{user}"
    variables = {"HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    settings = [f"{name}={value}" for name, value in {**variables, **environment}.items()]
    # `env` inside the root looks the program up and goes to the home folder first
    return [
        "chroot",
        f"--userspec={user}",
        str(root),
        "/usr/bin/env",
        "-i",
        f"--chdir={home}",
        *settings,
        *argv,
    ]
