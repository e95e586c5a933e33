"""A board's disk that is really full: as root on Linux, by a tiny file system where uploads are written.

The rule: a write fails because the kernel has no room for it, or the fault is refused. Without root no file system
can be laid there, and a limit that merely looks alike is not offered.
"""

from __future__ import annotations

import os
import subprocess
import sys

from agent.contract.board import USER_ROOT
from agent.contract.errors import OptionInvalid
from edge.sim.plan import Plan

SIZE_BYTES = 64 * 1024


def possible() -> str | None:
    """Why this machine can't fill a board's disk, or None where it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a full disk needs a file system of its own, which only root on Linux can lay there"
    return None


def fill(plan: Plan) -> None:
    """Leave no room for uploads.

    Raises:
        OptionInvalid: this machine can't, and why.
    """
    why = possible()
    folder = plan.home / USER_ROOT / "inbox" / "blobs"
    if why is None and not os.path.ismount(folder):
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=755", "tmpfs", str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True)
        why = done.stderr.strip() if done.returncode else None
    if why is not None:
        raise OptionInvalid(option="disk-full", reason=why)


def free(plan: Plan) -> None:
    """Take the tiny file system away where there is one."""
    folder = plan.home / USER_ROOT / "inbox" / "blobs"
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
