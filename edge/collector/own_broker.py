"""Files for a mosquitto of the user's own: who may say and hear what, and the certificates; and for its clients.

The rule: it is the configuration of the broker here, listening for everyone; so what is tested of the one holds for the
other. The authority's key stays in the fleet folder: who needs a certificate gets it from there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from agent.contract.errors import OptionInvalid
from edge import durable
from edge.certificates import CERTIFICATE, CertificateAuthority
from edge.collector import mosquitto
from edge.collector.access import AccessList
from edge.collector.broker import PORT_OWN, write_server_files
from edge.config import FleetFolder

FRAGMENT = "edge.conf"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z")


def address(fleet: FleetFolder, host: str | None, port: int | None) -> tuple[str, int]:
    """Under which name and port boards will reach it: what was given, else what `[mqtt] url` says.

    Raises:
        OptionInvalid: neither says a host name.
    """
    url = urlsplit(fleet.config.mqtt_url)
    name = host or url.hostname
    if not name or not _HOST.match(name):
        raise OptionInvalid(option="--host", reason="say the broker's host name, as boards will look it up")
    return name, port or url.port or PORT_OWN


def write_files(
    fleet: FleetFolder, folder: Path, *, collector_id: str, host: str, port: int, files: PurePath
) -> Sequence[Path]:
    """Write mosquitto's configuration, the access list and certificates; which files there are.

    Args:
        fleet: whose authority signs.
        folder: where to; made where it is missing.
        collector_id: whom the list lets write to boards.
        host: the name in the server's certificate.
        port: where it listens.
        files: where they will lie for mosquitto.
    """
    durable.make_folder(folder)
    access = AccessList(fleet.config.fleet, collector_id, fleet.config.mqtt_clients)
    write_server_files(folder, access, CertificateAuthority(fleet.keys), name=host)
    listener = mosquitto.Listener(port=port, address=None, files=files)
    durable.write(folder / FRAGMENT, mosquitto.render(listener).encode())
    names = (FRAGMENT, mosquitto.ACCESS, mosquitto.AUTHORITY, mosquitto.CERTIFICATE, mosquitto.KEY)
    return tuple(folder / name for name in names)


def write_client(fleet: FleetFolder, folder: Path, name: str) -> Sequence[Path]:
    """Write what a client called `name` shows and checks: authority, certificate, key; which files there are.

    Args:
        fleet: whose authority signs.
        folder: where to; made where it is missing.
        name: one of `[mqtt] clients`.
    """
    durable.make_folder(folder)
    authority = CertificateAuthority(fleet.keys)
    pair = authority.client(name)
    files = tuple(folder / file for file in (CERTIFICATE, f"{name}.pem", f"{name}.key"))
    durable.write(files[0], authority.certificate.encode())
    durable.write(files[1], pair.certificate.encode())
    durable.write(files[2], pair.key.encode(), mode=0o600)
    return files
