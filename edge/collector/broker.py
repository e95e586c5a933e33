"""The broker: mosquitto or an embedded one, as a child on loopback, or one of the user's own.

The rule: whichever it is, it speaks TLS, lets only certificates of the fleet's authority in, and keeps the one access
list (`edge.collector.access`). The broker here is always a process of its own, on the same port as the last time where
that is free, and never one that another run left.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from agent.contract.errors import BrokerFailed, ConfigInvalid
from agent.contract.link import BROKER_NAME
from edge import durable
from edge.certificates import CertificateAuthority
from edge.collector import mosquitto
from edge.collector.access import AccessList, asker
from edge.collector.leash import Leashed, end_stale
from edge.config import FleetFolder
from edge.ports import HERE, free_port, port_is_free

KIND_MOSQUITTO = "mosquitto"
KIND_EMBEDDED = "embedded"
KIND_OWN = "own"
PORT_OWN = 8883
"""Where `mqtts://host` without a port leads."""
START_S = 20.0
ATTEMPTS = 5
"""Ports tried: another process may take one between the look and the start."""
CLIENT_CERTIFICATE = "collector.pem"
CLIENT_KEY = "collector.key"
ASKER_CERTIFICATE = "ask.pem"
ASKER_KEY = "ask.key"
STATE = "broker.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """The broker that the collector and, through tunnels or directly, the boards use.

    Attributes:
        kind: `mosquitto`, `embedded` or `own`.
        host, port: where it listens, as this machine sees it.
        server_name: the name that its certificate must have; None for `host`.
        ca: PEM of the authority that its certificate must come from; None for the system's own.
        ca_file: the same as a file, or None. certificate_file, key_file: of the collector's own client.
        child: the process here; None for the user's own.
    """

    kind: str
    host: str
    port: int
    server_name: str | None
    ca: str | None
    ca_file: Path | None
    certificate_file: Path
    key_file: Path
    child: Leashed | None = None

    @property
    def pid(self) -> int | None:
        """Of the process here."""
        return self.child.pid if self.child is not None else None

    @property
    def address(self) -> str:
        """`127.0.0.1:20001`."""
        return f"{self.host}:{self.port}"

    def alive(self) -> bool:
        """Whether the process here runs; a broker of the user's own is not ours to know of."""
        return self.child is None or self.child.alive()

    def stop(self) -> None:
        """End the process here."""
        if self.child is not None:
            self.child.end()


def start(fleet: FleetFolder, collector_id: str, authority: CertificateAuthority) -> Broker:
    """Start the broker that `edge.toml` names, ready for connections; for one of the user's own, say where it is.

    Args:
        fleet: files go to `telemetry/broker/`.
        collector_id: whom the access list lets write to boards.
        authority: of the fleet's certificates.

    Raises:
        BrokerFailed: it can't be started.
        ConfigInvalid: `[mqtt] ca` names no file that can be read.
        KeyUnreadable: the authority's key is damaged.
    """
    try:
        return _start(fleet, collector_id, authority)
    except OSError as error:  # a full or read-only drive
        raise BrokerFailed(address=HERE, reason=str(error)) from error


def _start(fleet: FleetFolder, collector_id: str, authority: CertificateAuthority) -> Broker:
    folder = fleet.telemetry / "broker"
    durable.make_folder(fleet.telemetry, mode=0o700)
    durable.make_folder(folder, mode=0o700)
    _end_last(folder)
    for name, certificate, key in (
        (collector_id, CLIENT_CERTIFICATE, CLIENT_KEY),
        (asker(collector_id), ASKER_CERTIFICATE, ASKER_KEY),
    ):
        pair = authority.client(name)
        durable.write(folder / certificate, pair.certificate.encode())
        durable.write(folder / key, pair.key.encode(), mode=0o600)
    if fleet.config.mqtt_url:
        return _own(fleet, folder)
    access = AccessList(fleet.config.fleet, collector_id, fleet.config.mqtt_clients)
    write_server_files(folder, access, authority, name=BROKER_NAME)
    return _here(fleet, folder, access)


def for_commands(fleet: FleetFolder, port: int) -> Broker:
    """The broker that a collector has started, as a command of its folder asks boards through it.

    Args:
        fleet: whose.
        port: of the broker here, as the collector says it.

    Raises:
        ConfigInvalid: as `start`.
    """
    folder = fleet.telemetry / "broker"
    certificate, key = folder / ASKER_CERTIFICATE, folder / ASKER_KEY
    if fleet.config.mqtt_url:
        return replace(_own(fleet, folder), certificate_file=certificate, key_file=key)
    return Broker(
        kind=fleet.config.mqtt_broker,
        host=HERE,
        port=port,
        server_name=BROKER_NAME,
        ca=None,
        ca_file=folder / mosquitto.AUTHORITY,
        certificate_file=certificate,
        key_file=key,
    )


def write_server_files(
    folder: Path, access: AccessList, authority: CertificateAuthority, *, name: str
) -> None:
    """What a broker's configuration names: the access list, the authority, a new server certificate for `name`."""
    server = authority.server(name)
    durable.write(folder / mosquitto.ACCESS, access.render().encode())
    durable.write(folder / mosquitto.AUTHORITY, authority.certificate.encode())
    durable.write(folder / mosquitto.CERTIFICATE, server.certificate.encode())
    durable.write(folder / mosquitto.KEY, server.key.encode(), mode=0o600)


def _own(fleet: FleetFolder, folder: Path) -> Broker:
    url = urlsplit(fleet.config.mqtt_url)
    ca_file = fleet.path / fleet.config.mqtt_ca if fleet.config.mqtt_ca else None
    try:
        ca = ca_file.read_text() if ca_file is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(path=fleet.edge_toml, reason=f"`mqtt.ca`: {error}") from error
    return Broker(
        kind=KIND_OWN,
        host=str(url.hostname),
        port=url.port or PORT_OWN,
        server_name=None,
        ca=ca,
        ca_file=ca_file,
        certificate_file=folder / CLIENT_CERTIFICATE,
        key_file=folder / CLIENT_KEY,
    )


def _here(fleet: FleetFolder, folder: Path, access: AccessList) -> Broker:
    wanted = fleet.config.mqtt_broker
    program = mosquitto.find()
    if wanted != KIND_EMBEDDED and program is not None:
        try:
            return _started(folder, KIND_MOSQUITTO, lambda port: _mosquitto(folder, program, port))
        except BrokerFailed as error:
            if wanted == KIND_MOSQUITTO:
                raise
            log.warning("%s; the embedded broker takes its place", error)
    if wanted == KIND_MOSQUITTO and program is None:
        raise BrokerFailed(address=HERE, reason="mosquitto is not installed, and edge.toml wants it")
    return _started(folder, KIND_EMBEDDED, lambda port: _embedded(folder, access, port))


def _mosquitto(folder: Path, program: Path, port: int) -> list[str]:
    """Write its configuration; how it is called."""
    listener = mosquitto.Listener(port=port, address=HERE, files=folder, alone=True)
    path = folder / mosquitto.CONFIGURATION
    durable.write(path, mosquitto.render(listener).encode())
    return [str(program), "-c", str(path)]


def _embedded(folder: Path, access: AccessList, port: int) -> list[str]:
    path = folder / "embedded.json"
    durable.write(path, json.dumps({"port": port, **asdict(access)}).encode() + b"\n")
    return [sys.executable, "-m", "edge.collector.embedded", str(path)]


def _started(folder: Path, kind: str, prepare: Callable[[int], list[str]]) -> Broker:
    for attempt in range(ATTEMPTS):
        port = _port(folder, first=attempt == 0)
        child = Leashed(prepare(port), log=folder / "broker.log")
        durable.write(folder / STATE, json.dumps({"pid": child.pid, "port": port}).encode() + b"\n")
        broker = Broker(
            kind=kind,
            host=HERE,
            port=port,
            server_name=BROKER_NAME,
            ca=(folder / mosquitto.AUTHORITY).read_text(),
            ca_file=folder / mosquitto.AUTHORITY,
            certificate_file=folder / CLIENT_CERTIFICATE,
            key_file=folder / CLIENT_KEY,
            child=child,
        )
        if _answers(broker):
            return broker
        broker.stop()
    raise BrokerFailed(address=f"{HERE}:{port}", reason=f"{kind} did not start: {child.last_words()}")


def _answers(broker: Broker) -> bool:
    """Wait until the broker shows its certificate; False when it ended or says nothing."""
    context = ssl.create_default_context(cafile=broker.ca_file)
    context.load_cert_chain(broker.certificate_file, broker.key_file)
    deadline = time.monotonic() + START_S
    while broker.alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            link = socket.create_connection((broker.host, broker.port), 5.0)
            with context.wrap_socket(link, server_hostname=broker.server_name):
                return True
        time.sleep(0.02)
    return False


def _state(folder: Path) -> tuple[int, int] | None:
    """Process id and port of the last broker here."""
    try:
        plain = json.loads((folder / STATE).read_bytes())
        return int(plain["pid"]), int(plain["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end_last(folder: Path) -> None:
    """End a broker that a killed collector left."""
    last = _state(folder)
    if last is not None and end_stale(last[0], folder):
        log.warning("ended the broker that another collector left, process %d", last[0])


def _port(folder: Path, *, first: bool) -> int:
    """The last broker's port where it is free, so that boards find it again; else another one."""
    last = _state(folder)
    if first and last is not None and port_is_free(last[1]):
        return last[1]
    return free_port()
