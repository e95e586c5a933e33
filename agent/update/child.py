"""A child process of a trial: another user, a deadline, bounded output, and nothing of it left afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

OUTPUT_BYTES = 4 * 1024 * 1024
POLL_S = 0.1
NICENESS = 5
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "EDGE_SIM", "EDGE_SIM_SERIAL_FILE")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Interrupted(Exception):
    """Whoever waits for the child wants something else first; the child was ended."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        status: exit code, negative for a signal; None when the deadline passed or its output was too long.
        output, talk: what it wrote to standard output and to standard error.
    """

    status: int | None
    output: bytes
    talk: bytes

    @property
    def last_words(self) -> str:
        """The last line that it wrote to standard error, or how it ended."""
        lines = [line.strip() for line in self.talk.decode(errors="replace").splitlines() if line.strip()]
        if self.status is not None and self.status < 0:
            ended = f"killed by {signal.Signals(-self.status).name}"
        else:
            ended = f"exit code {self.status}"
        said = next((line for line in reversed(lines) if not line.startswith("hint:")), "")
        return f"{said[:300].removeprefix('error: ')} ({ended})" if said else ended


def run_child(
    command: Sequence[str],
    *,
    deadline_s: float,
    interrupted: Callable[[], bool],
    user: str | None = None,
) -> Outcome:
    """Run a program to its end, or end it with all its children.

    Args:
        command: program and arguments.
        deadline_s: seconds until it is killed.
        interrupted: asked again and again; True ends the child.
        user: whom it runs as; None for the present user.

    Raises:
        Interrupted: `interrupted` said so.
    """
    identity: dict[str, Any] = (
        {} if user is None else {"user": user, "group": user, "extra_groups": _groups(user)}
    )
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(  # noqa: S603 - our own launcher, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=talk,
            cwd="/",
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ},
            start_new_session=True,
            preexec_fn=_behave,
            **identity,
        )
        try:
            status = _wait(process, deadline_s, interrupted, (output, talk))
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Outcome(status=status, output=_head(output), talk=_tail(talk))


def _wait(
    process: subprocess.Popen[bytes],
    deadline_s: float,
    interrupted: Callable[[], bool],
    written: Sequence[IO[bytes]],
) -> int | None:
    end = time.monotonic() + deadline_s
    while True:
        try:
            return process.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            pass
        if interrupted():
            raise Interrupted
        if time.monotonic() > end or any(os.fstat(file.fileno()).st_size > OUTPUT_BYTES for file in written):
            return None


def _behave() -> None:
    """Between fork and exec: die with the update process, and leave the processor to whoever serves."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)


def _groups(user: str) -> list[int]:
    import grp

    return [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(OUTPUT_BYTES)


def _tail(file: IO[bytes]) -> bytes:
    file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
    return file.read(65536)
