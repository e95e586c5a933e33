"""What boards are told of the broker: through their own tunnels, or where one of the user's own is.

The rule: a board is told over SSH, and only what it does not know. That one has the word of the user's own broker is
noted, so that not every start asks each board; whoever enrols a board anew takes the note away.
"""

from __future__ import annotations

import logging

from agent.contract.codec import digest, encode
from agent.contract.errors import LinkNotReady
from agent.contract.link import BROKER_NAME, LinkConfig
from edge import durable
from edge.certificates import CertificateAuthority
from edge.collector.broker import Broker
from edge.collector.way import Tunnel
from edge.config import FleetFolder
from edge.fleet.connection import Board, connect
from edge.fleet.link import write_link
from edge.inventory import Device

log = logging.getLogger(__name__)


class Links:
    """The links of one fleet's boards."""

    def __init__(self, fleet: FleetFolder, collector_id: str, authority: CertificateAuthority) -> None:
        self._fleet = fleet
        self._collector_id = collector_id
        self._authority = authority
        self._notes = fleet.telemetry / "links"

    def through(self, tunnel: Tunnel, device: Device) -> None:
        """Tell the board to report through its tunnel, and end an older session that it may still speak to.

        Raises:
            LinkNotReady, KeyUnreadable: the board has no key for it.
            ConnectionLost, DeadlinePassed, RemoteCommandFailed: on the way.
        """
        link = self._link(
            f"mqtts://127.0.0.1:{tunnel.forward.remote_port}",
            server_name=BROKER_NAME,
            ca=self._authority.certificate,
        )
        self.forget(device)
        self._write(tunnel.board, device, link, tunnel=True)

    def to(self, broker: Broker, device: Device) -> None:
        """Tell the board where the user's own broker is, unless it knows.

        Raises:
            As `through`, and what keeps a connection from being made.
        """
        link = self._link(f"mqtts://{broker.address}", server_name=broker.server_name, ca=broker.ca)
        note, text = self._notes / device.device_id, digest(encode(link))
        if note.exists() and note.read_text() == text:
            return
        with connect(device, fleet=self._fleet) as board:
            self._write(board, device, link, tunnel=False)
        durable.make_folder(self._notes)
        durable.write(note, text.encode())

    def forget(self, device: Device) -> None:
        """The board may not know any more where the user's own broker is."""
        (self._notes / device.device_id).unlink(missing_ok=True)

    def _write(self, board: Board, device: Device, link: LinkConfig, *, tunnel: bool) -> None:
        if device.root is None:
            raise LinkNotReady(device=device.name)
        done = write_link(
            board, device.root, link, device_id=device.device_id, authority=self._authority, tunnel=tunnel
        )
        if done.ended is not None:
            log.info("%s: ended the session that held an old tunnel's port there", device.name)

    def _link(self, url: str, *, server_name: str | None, ca: str | None) -> LinkConfig:
        config = self._fleet.config
        return LinkConfig(
            collector=self._collector_id,
            url=url,
            certificate="",
            ca=ca,
            server_name=server_name,
            interval_s=config.interval_s,
            outbox_bytes=config.outbox_mb * 10**6,
        )
