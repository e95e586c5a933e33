"""Enrolment: a bare board becomes one of a fleet. `python3 -I <layer>.zip install` runs this on the board.

The rule: standard library only, until the runtime that came over the pinned SSH connection is verified by its hashes
and in place; running it again changes nothing that identifies the board.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent.contract.codec import MAX_DOCUMENT_BYTES, decode, encode
from agent.contract.errors import ExitCode
from agent.contract.install import Enrolment, InstallRequest
from agent.install.enrolling import enrol

__all__ = ["install", "main"]


def main(root: Path) -> int:
    """Read an InstallRequest from standard input, and print the Enrolment.

    Raises:
        EdgeError: the board was not enrolled; the class says why.
    """
    request = decode(InstallRequest, sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1))
    enrolment = install(root, request)
    sys.stdout.write(encode(enrolment).decode() + "\n")
    return ExitCode.DONE


def install(root: Path, request: InstallRequest) -> Enrolment:
    """Enrol this board in the folder `root`. See `agent.install.enrolling.enrol`."""
    return enrol(root.expanduser().absolute(), request)
