"""Test beds by hand: ``python -m tests.beds install | build | start | sweep``.

========================  =======================================================================
module                    gives
========================  =======================================================================
``sshd``                  a real sshd per board on loopback, up in half a second
``systemd_container``     Debian with systemd as process 1, sshd and sudo (systemd-nspawn)
``qemu_board``            an emulated arm64 computer with its own kernel, to be cut from power
``arm64_chroot``          one arm64 program run by qemu-user in the board's root file system
``link``                  the cable: a TCP relay that can be slowed, delayed, stalled and cut
``fixtures``              all of them as pytest fixtures
========================  =======================================================================

What is built is kept in the folder named by ``EDGE_BEDS`` (default ``~/.cache/edge-beds``).
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.beds import arm64_chroot, board_image, debian_root, sshd, systemd_container
from tests.beds.board import BedBroken, BedUnavailable, cache_folder, find_tool, ssh_argv, sweep
from tests.beds.qemu_board import Hardware, QemuBoard

TOOLS = {
    **debian_root.TOOLS,
    **debian_root.FOREIGN_TOOLS,
    **sshd.TOOLS,
    **systemd_container.TOOLS,
    **board_image.RUN_TOOLS,
    **board_image.BUILD_TOOLS,
}


def install() -> None:
    """Install what is missing, waiting for others who use the package manager."""
    missing = sorted({package for tool, package in TOOLS.items() if not find_tool(tool)})
    if not missing:
        print("nothing is missing")
        return
    print("installing", *missing)
    wait = "DPkg::Lock::Timeout=900"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-o", wait, "update", "-qq"], check=True, env=quiet)
    subprocess.run(
        ["apt-get", "-o", wait, "install", "-y", "-qq", "--no-install-recommends", *missing],
        check=True,
        env=quiet,
        stdout=subprocess.DEVNULL,
    )


def build(bed: str, suite: str) -> None:
    """Build what is not in the cache yet."""
    steps: dict[str, Callable[[], object]] = {
        "systemd": lambda: systemd_container.prepare(suite),
        "qemu": lambda: board_image.prepare(suite),
        "chroot": lambda: arm64_chroot.arm64_root(suite),
    }
    for name in steps if bed == "all" else [bed]:
        started = time.monotonic()
        steps[name]()
        print(f"{name}: ready in {cache_folder()} after {time.monotonic() - started:.0f} s", flush=True)


def start(bed: str, name: str, suite: str, internet: bool) -> None:
    """Run one board until it is told `stop`, or until a signal ends this process."""
    making: dict[str, Callable[[], sshd.SshdBoard | systemd_container.SystemdContainer | QemuBoard]] = {
        "sshd": lambda: sshd.SshdBoard(name),
        "systemd": lambda: systemd_container.SystemdContainer(name, suite=suite),
        "qemu": lambda: QemuBoard(name, suite=suite, hardware=Hardware(internet=internet)),
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with making[bed]() as running:
        board = running.board
        print(shlex.join(ssh_argv(board)))
        print(f"password {board.password}, host key {board.host_key_fingerprint}, log {running.log}")
        print("commands: cut, boot, stop", flush=True)
        for line in sys.stdin:
            match line.strip():
                case "cut":
                    running.power_cut()
                case "boot":
                    running.boot()
                case "stop":
                    return
                case "":
                    continue
                case other:
                    print(f"unknown: {other}")
                    continue
            print("done", flush=True)
        signal.pause()  # started without a terminal


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.beds", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="the Debian packages that the beds need (root)")
    builds = commands.add_parser("build", help="root file systems and images, if they are not there")
    builds.add_argument("bed", choices=["systemd", "qemu", "chroot", "all"])
    starts = commands.add_parser("start", help="one board, in the foreground")
    starts.add_argument("bed", choices=["sshd", "systemd", "qemu"])
    starts.add_argument("--name", default="board")
    starts.add_argument("--internet", action="store_true", help="let an emulated board reach beyond itself")
    for command in (builds, starts):
        command.add_argument("--suite", default="bookworm", help="bookworm: Python 3.11; trixie: 3.13")
    commands.add_parser("sweep", help="end and remove boards whose test run is gone")
    asked = parser.parse_args()
    try:
        match asked.command:
            case "install":
                install()
            case "build":
                build(asked.bed, asked.suite)
            case "start":
                start(asked.bed, asked.name, asked.suite, asked.internet)
            case "sweep":
                print("removed:", *sweep())
    except (BedUnavailable, BedBroken) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
