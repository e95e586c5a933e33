"""The sockets that the agent listens on: loopback, its own in the board's folder, and the door's.

The rule: those that the process before this one handed over are used again, so that a client who waits in one is
served; what of them nobody wants any more is closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

BACKLOG = 512
SOCKET_MODE = 0o660
"""The agent's user and group: whoever shall ask through it becomes a member of the group."""
LOG = logging.getLogger("agent")


class ListeningSockets:
    """Where to get them.

    Args:
        handed: numbers of open sockets, from the process before this one.
    """

    def __init__(self, handed: Iterable[str] = ()) -> None:
        self._handed: list[socket.socket] = []
        for number in handed:
            with contextlib.suppress(OSError, ValueError):
                found = socket.socket(fileno=int(number))
                found.set_inheritable(False)
                found.setblocking(False)
                self._handed.append(found)

    def tcp(self, address: str, port: int) -> socket.socket:
        """One that listens on this address of the board's; port 0 takes any free one.

        Raises:
            OSError: it can't.
        """
        for found in self._handed:
            if found.family != socket.AF_UNIX:
                there = found.getsockname()
                if there[0] == address and port in (0, there[1]):
                    self._handed.remove(found)
                    return found
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address, port))
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        return listening

    def unix(self, path: Path) -> socket.socket | None:
        """One for programs of this board, or None where the folder takes none, which is said in the log."""
        for found in self._handed:
            if found.family == socket.AF_UNIX and found.getsockname() == str(_fresh(path, os.getpid())):
                self._handed.remove(found)
                return found
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = _fresh(path, os.getpid())
        try:
            fresh.unlink(missing_ok=True)
            listening.bind(str(fresh))
            fresh.chmod(SOCKET_MODE)
            listening.listen(BACKLOG)
            fresh.rename(path)  # whoever connects finds the old one or this one
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            LOG.warning("can't listen on `%s`: %s", path, error.strerror or error)
            return None
        return listening

    def close_rest(self) -> None:
        """Close those that were handed over and not asked for."""
        for found in self._handed:
            found.close()
        self._handed.clear()


def _fresh(path: Path, pid: int) -> Path:
    return path.with_name(f".{path.name}.{pid}")


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may: each client is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
