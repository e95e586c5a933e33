"""A real mosquitto that lets boards in by their certificates, and can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from agent.contract.link import BROKER_NAME
from edge.certificates import CertificateAuthority

MOSQUITTO = "/usr/sbin/mosquitto"
START_S = 10.0
CONFIGURATION = """\
listener {port} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
persistence false
max_inflight_messages 1000
set_tcp_nodelay true
{more}
"""
ACCESS = """\
user collector
topic readwrite #
pattern write edge/v1/+/+/%u/birth
pattern write edge/v1/+/+/%u/state
pattern write edge/v1/+/+/%u/reported
pattern write edge/v1/+/+/%u/telemetry
pattern write edge/v1/+/+/%u/event
pattern read edge/v1/+/+/%u/ack
"""


class Broker:
    """A broker on loopback, with the certificates of `authority`. It keeps nothing over a restart."""

    def __init__(self, folder: Path, authority: CertificateAuthority, *, more: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir()
        pair = authority.server(BROKER_NAME)
        (folder / "ca.pem").write_text(authority.certificate)
        (folder / "server.pem").write_text(pair.certificate)
        (folder / "server.key").write_text(pair.key)
        (folder / "acl").write_text(ACCESS)
        text = CONFIGURATION.format(port=self.port, folder=folder, more=more)
        if os.geteuid() == 0:
            text += "user root\n"
        (folder / "mosquitto.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Broker:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [MOSQUITTO, "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=log
            )
        wait_for_port(self.port, self.folder / "log")
        return self

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that is free now, below those that the kernel gives to clients: a client may connect to itself there."""
    for _ in range(200):
        port = 20_000 + int.from_bytes(os.urandom(2), "big") % 12_000
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


def wait_for_port(port: int, log: Path) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(log.read_text())
