"""What the collector says of itself: where it is (`telemetry/running.json`), who it is, how it is doing.

The rule: `running.json` is a hint; only a collector that answers on its socket is one.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.codec import decode, encode
from agent.contract.errors import DocumentInvalid
from edge import durable
from edge.config import FleetFolder

ENROLLED = "collector.json"
RUNNING = "running.json"
LOCK = "collector.lock"
LOG = "collector.log"
BUSY_STATUS = 75
"""Exit status of a collector that found another one."""
_ID = re.compile(r"c-[0-9a-f]{16}")


@dataclass(frozen=True)
class Enrolled:
    """The id that this folder's boards take acknowledgements from; it belongs to the folder, not to a process."""

    collector: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.collector):
            raise DocumentInvalid(document="Enrolled", reason=f"`collector` is {self.collector!r}")


@dataclass(frozen=True)
class Running:
    """Where a collector is.

    Attributes:
        pid: its process. control: path of its socket.
        metrics_port: on loopback, for Prometheus. broker_port: of its broker, or None where none is up.
    """

    pid: int
    control: str
    metrics_port: int
    broker_port: int | None = None

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds the fleet."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"


@dataclass(frozen=True, kw_only=True)
class BoardLink:
    """How one board is reached.

    Attributes:
        name, device: what it is called, and its id.
        tunnel, reason, silent_s, backlog: as `edge.telemetry.records.LinkState`.
        last_seen: when its last message came to this process, seconds since 1970, or None.
    """

    name: str
    device: str
    tunnel: str
    reason: str | None = None
    silent_s: float = 0.0
    backlog: bool = False
    last_seen: float | None = None


@dataclass(frozen=True, kw_only=True)
class CollectorStatus:
    """How a collector is doing.

    Attributes:
        pid, collector: its process and its id. since: when it started, seconds since 1970.
        broker_kind, broker_address: which broker, `mosquitto`, `embedded` or `own`, and where; None before it is up.
        connected: messages come in and are stored. waits_for: why not, or None.
        metrics_url: for Prometheus.
        messages, batches: read since it started. stored: samples and events that were new. repeated: those that were
            not. refused: messages by the code of what was wrong with them.
        lag_s: from the arrival of the last batch's first message to its commit.
        boards: the enrolled ones, by name.
    """

    pid: int
    collector: str
    since: float
    connected: bool
    metrics_url: str
    messages: int
    stored: int
    batches: int
    repeated: int = 0
    broker_kind: str | None = None
    broker_address: str | None = None
    waits_for: str | None = None
    lag_s: float | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    boards: tuple[BoardLink, ...] = ()


def enrolled_id(fleet: FleetFolder) -> str:
    """The folder's collector id, made when first asked for.

    Raises:
        DocumentInvalid: `collector.json` is damaged: boards would not know a new id until they are reached again.
    """
    path = fleet.telemetry / ENROLLED
    with contextlib.suppress(FileExistsError):
        if not path.exists():
            durable.write_new(path, encode(Enrolled(f"c-{secrets.token_hex(8)}")) + b"\n")
    try:
        return decode(Enrolled, path.read_bytes()).collector
    except DocumentInvalid as error:
        raise DocumentInvalid(document=f"`{path}`", reason=error.facts["reason"]) from error


def read_running(fleet: FleetFolder) -> Running | None:
    """What `running.json` says, or None where it says nothing."""
    with contextlib.suppress(OSError, DocumentInvalid):
        return decode(Running, (fleet.telemetry / RUNNING).read_bytes())
    return None


def make_folder(fleet: FleetFolder) -> Path:
    """`telemetry/`, mode 0700, which git leaves alone."""
    durable.make_folder(fleet.telemetry, mode=0o700)
    ignore = fleet.telemetry / ".gitignore"
    with contextlib.suppress(FileExistsError):
        if not ignore.exists():
            durable.write_new(ignore, b"*\n")
    return fleet.telemetry
