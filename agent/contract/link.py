"""How a board reaches its broker, and who may acknowledge its telemetry: `link/link.json`, written over SSH.

The rule: what stands here decides where telemetry goes and nothing else. It is written by whoever may push to the
board; what he can do with it is to read this board's telemetry and to take its acknowledgements over, never to make it
run anything or to speak for it: reports are signed by a key that he does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_name

LINK_SCHEMA = "edge.link/1"
OUTBOX_BYTES = 64 * 1024 * 1024
MQTTS_PORT = 8883
BROKER_NAME = "edge-broker"
"""The name in the certificate of a broker that is reached through a tunnel."""


@dataclass(frozen=True)
class LinkConfig:
    """How a board reports.

    Attributes:
        collector: id of the one collector whose acknowledgements count, until another one is named here.
        url: `mqtts://host:port`; through a tunnel `mqtts://127.0.0.1:port`.
        server_name: the name that the broker's certificate must have; None for the URL's host.
        ca: PEM of the authority that the broker's certificate must come from; None for the system's own.
        certificate: PEM of this board's client certificate, whose common name is the device id; its key is the board's
            `mqtt.key` and never left it.
        interval_s: seconds from sample to sample.
        outbox_bytes: how much may wait for an acknowledgement.
        session: process id of the board's own sshd session that holds a tunnel's port, or None.
    """

    collector: str
    url: str
    certificate: str
    ca: str | None = None
    server_name: str | None = None
    interval_s: float = 10.0
    outbox_bytes: int = OUTBOX_BYTES
    session: int | None = None
    schema: str = LINK_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.collector, what="collector")
        if self.schema != LINK_SCHEMA:
            reason = f"`schema` is {self.schema!r}, this version reads {LINK_SCHEMA!r}"
            raise DocumentInvalid(document="LinkConfig", reason=reason)
        if not self.url.startswith("mqtts://"):
            raise DocumentInvalid(document="LinkConfig", reason="`url` must begin with `mqtts://`")
        if not 0.001 <= self.interval_s <= 86_400:
            raise DocumentInvalid(document="LinkConfig", reason="`interval_s` must be 0.001 to 86400")
        if self.outbox_bytes < 64 * 1024:
            raise DocumentInvalid(document="LinkConfig", reason="`outbox_bytes` must be 65536 or more")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the broker.

        Raises:
            ValueError: the URL names none.
        """
        url = urlsplit(self.url)
        if not url.hostname:
            raise ValueError("`url` names no host")
        return url.hostname, url.port or MQTTS_PORT
