"""A child process that ends when this one does, even when this one is killed, and whose log stays small.

The rule: on Linux the kernel ends the child with us; elsewhere it is left over, and ended at the next start by the file
that its command line names. `python -I -S leash.py PARENT PROGRAM ARGUMENT…` becomes the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

LOG_BYTES = 4 * 1024 * 1024
"""The log's end: what would make it longer is not written."""
MANY_FILES = 10_240
"""The most that macOS lets a process ask for."""
POLL_S = 0.02
_PR_SET_PDEATHSIG = 1


class Leashed:
    """A running child.

    Attributes:
        pid: its process id.
    """

    def __init__(self, argv: Sequence[str], *, log: Path) -> None:
        self._argv = [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._failed: OSError | None = None
        self._started = threading.Event()
        # The kernel's word holds for the thread that started the child; so that thread stays as long as the child
        self._thread = threading.Thread(target=self._run, name="edge-leash", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failed is not None:
            raise self._failed
        self.pid = self._child.pid

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def end(self, seconds: float = 3.0) -> None:
        """Ask it to end, and end it when it has not by then."""
        self._child.terminate()
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def _run(self) -> None:
        try:
            with self._log.open("wb") as output:
                self._process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd="/",
                )
        except OSError as error:
            self._failed = error
            return
        finally:
            self._started.set()
        self._process.wait()


def end_stale(pid: int, named: Path, *, seconds: float = 5.0) -> bool:
    """End process `pid`, which another run of ours left, when its command line names the file `named`.

    Returns:
        Whether there was one, and it is gone.
    """
    ended = False
    began = time.monotonic()
    while runs(pid, named):
        passed = time.monotonic() - began
        if passed > 2 * seconds:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL if passed > seconds else signal.SIGTERM)
        ended = True
        time.sleep(POLL_S)
    return ended


def runs(pid: int, named: Path) -> bool:
    """Whether process `pid` lives and its command line names the file `named`."""
    return str(named) in _command_line(pid)


def _command_line(pid: int) -> str:
    """Of a process that lives; an empty text for one that does not."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return "" if "<defunct>" in listed.stdout else listed.stdout


def allow_many_files() -> None:
    """Let this process have many files open, as far as the system lets it: a board takes one at the broker, six here,
    and what a shell hands on is often 1024, or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def become(parent: int, argv: Sequence[str]) -> None:
    """Become the program `argv`, on the leash of the process `parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the kernel was told
            raise SystemExit(1)
    allow_many_files()
    resource.setrlimit(resource.RLIMIT_FSIZE, (LOG_BYTES, LOG_BYTES))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.execv(argv[0], list(argv))


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
