"""What children say of themselves, in systemd's own words (`sd_notify`): the agent that it lives, the update process
how long its phase may take. So both behave the same, whoever keeps them running.

The rule: a word counts for the process that the kernel says it came from, and for no other.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Iterator

LONGEST_WORD_BYTES = 4096
MOST_WORDS = 100
"""Read at once; what a flood leaves over waits for the next turn."""
_CREDENTIALS = struct.Struct("3i")


class Notices:
    """A socket without a place in the file system: a path would be too long for one on some boards. It is kept open
    when the supervisor executes itself anew: everybody on the board could take a name that is free for a moment.

    Args:
        descriptor: of one that is open and that children know; None for a new one.

    Raises:
        OSError: `descriptor` is no socket.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(f"\0edge-{os.getpid()}-{secrets.token_hex(8)}")
        else:
            self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)

    @property
    def address(self) -> str:
        """What `NOTIFY_SOCKET` is set to."""
        return f"@{self._socket.getsockname()[1:].decode()}"

    def kept(self) -> int:
        """Its descriptor, which stays open when this process executes something else."""
        self._socket.set_inheritable(True)
        return self._socket.fileno()

    def heard(self) -> Iterator[tuple[int, str]]:
        """Process id and word (`WATCHDOG=1`), oldest first; never waits."""
        for _ in range(MOST_WORDS):
            try:
                data, extra, _flags, _sender = self._socket.recvmsg(
                    LONGEST_WORD_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except OSError:
                return
            for level, kind, credentials in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid, _user, _group = _CREDENTIALS.unpack(credentials[: _CREDENTIALS.size])
                    for word in data.decode(errors="replace").splitlines():
                        yield pid, word

    def close(self) -> None:
        """Hear nothing any more."""
        self._socket.close()
