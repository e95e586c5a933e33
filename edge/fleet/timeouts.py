"""How long each phase of a connection may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Deadlines, in seconds where nothing else is said.

    Attributes:
        connect_s: name look-up and TCP connection.
        handshake_s: greeting and key exchange; a Raspberry Pi Zero needs some of them.
        auth_s: one attempt to authenticate.
        command_s: a command that says nothing of its own.
        stall_s: a transfer of which nothing came through.
        slowest_bytes_s: bytes a second; a transfer that is slower on the whole ends, and the next one goes on.
        keepalive_s: pause between signs of life.
    """

    connect_s: float = 10.0
    handshake_s: float = 30.0
    auth_s: float = 20.0
    command_s: float = 120.0
    stall_s: float = 30.0
    slowest_bytes_s: float = 2000.0
    keepalive_s: float = 15.0
