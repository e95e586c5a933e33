"""Mosquitto: where it is, and how it is configured, for the broker here and for one of the user's own.

The rule: only a client with a certificate of the fleet's authority gets in, and it is called what the certificate says,
whatever it says itself. Nothing is kept on disk: what counts is acknowledged end to end.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePath

from agent.contract.codec import MAX_DOCUMENT_BYTES

PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where it lies besides the PATH, which often holds no `sbin`."""
CONFIGURATION = "mosquitto.conf"
ACCESS = "acl"
AUTHORITY = "ca.pem"
CERTIFICATE = "server.pem"
KEY = "server.key"
PACKET_BYTES = MAX_DOCUMENT_BYTES + 1024
"""A document of the greatest length with its topic."""
IN_FLIGHT = 10_000
"""Messages that wait for one client's acknowledgement: the collector acknowledges after its commit."""
QUEUED = 100_000
"""Messages that wait for one client; boards send no more than their credit without an acknowledgement."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Where a mosquitto listens.

    Attributes:
        port: its port. address: the only address, or None for all.
        files: the folder of the access list and certificates, as mosquitto will see it.
        alone: this is all of its configuration, and it runs as whoever starts it; else a part of the user's own.
    """

    port: int
    address: str | None
    files: PurePath
    alone: bool = False


def find() -> Path | None:
    """The program, or None where it is not installed."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *PLACES])
    found = shutil.which("mosquitto", path=search)
    return Path(found) if found else None


def render(listener: Listener) -> str:
    """The configuration of one listener."""
    where = f"{listener.port} {listener.address}" if listener.address else str(listener.port)
    lines = [
        "# Written by edge.",
        f"listener {where}",
        f"cafile {listener.files / AUTHORITY}",
        f"certfile {listener.files / CERTIFICATE}",
        f"keyfile {listener.files / KEY}",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {listener.files / ACCESS}",
        f"max_packet_size {PACKET_BYTES}",
        f"max_inflight_messages {IN_FLIGHT}",
        f"max_queued_messages {QUEUED}",
        "set_tcp_nodelay true",
        "connection_messages false",
    ]
    if listener.alone:
        # A mosquitto that root starts would become another user, who can't read the key
        lines += [
            "user root", "persistence false", "sys_interval 0", "log_dest stderr",
            "log_type error", "log_type warning",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
