"""Ports of this machine's loopback for what edge starts here.

The rule: they lie below those that Linux gives to outgoing connections, so that none of these takes ours. A port that
is free when it is looked at may be taken a moment later: who uses one must be ready for that.
"""

from __future__ import annotations

import random
import socket

HERE = "127.0.0.1"
PORTS = range(20000, 32000)
LOOKS = 200


def free_port() -> int:
    """A loopback port, 1 to 65535, that nobody listens on now; of `PORTS` where one of them is free."""
    for port in random.sample(PORTS, LOOKS):
        if port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError:
            return False
    return True
