"""Saying on a channel that no more will be sent, without the library's race.

The rule: end-of-file never follows the channel's close. Paramiko writes `shutdown_write`'s message after it has let go
of the channel's lock, so that its reader may answer the other side's close in between; sshd ends the whole connection
when it is told of a channel that it has forgotten. Here the message is written under the lock.
"""

from __future__ import annotations

from typing import Any

import paramiko


def end_of_input(channel: paramiko.Channel) -> None:
    """Send end-of-file, unless the channel is closed or it was sent before.

    Raises:
        EOFError, OSError, paramiko.SSHException: the connection is gone.
    """
    inner: Any = channel  # the two private names are what `shutdown_write` uses
    with inner.lock:
        if inner.closed or inner.eof_sent:
            return
        message = inner._send_eof()
        if message is not None:
            inner.transport._send_user_message(message)
