"""The board's folder and its configuration: where things lie. These names stand nowhere else.

<root>/bin/launch.py            starts everything; standard library only, never changed by an update
       board.json               BoardConfig
       root.json                the fleet's TUF root as it was at enrolment
       bootstrap                text: digest of the runtime that enrolment brought
       objects/<sha256>/        layers, bundles, runtimes (manifest.json), unpacked, read-only
       generations/<n>/generation.json
       current, trial           symlinks to generations/<n>
       state/                   update.json, reported.json, device.key, device.pub, tuf/
       inbox/                   metadata/, targets/, blobs/<sha256>[.part], request
       run/agent.json           RunningAgent
       run/agent.sock           where programs of the board may ask the agent
       mqtt.key, mqtt.pub       key pair of the agent's MQTT certificate (PEM; not the device's signing key)
       link/link.json           LinkConfig, written over SSH by the fleet's collector
       link/door.json           DoorConfig, written over SSH by `edge device open`
       link/stream.json         StreamConfig, written over SSH by `edge stream start`
       outbox/outbox.sqlite     telemetry that is not acknowledged yet
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.door import DoorState
from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_name

BOARD_SCHEMA = "edge.board/1"
SYSTEM_USER = "edge"
"""Whom the agent runs as where the board was enrolled by root."""
SYSTEM_ROOT = "/opt/edge"
USER_ROOT = ".edge"

SERVICE_SYSTEMD = "systemd"
SERVICE_SYSTEMD_USER = "systemd-user"
SERVICE_SUPERVISOR = "supervisor"
SERVICES = (SERVICE_SYSTEMD, SERVICE_SYSTEMD_USER, SERVICE_SUPERVISOR)


@dataclass(frozen=True)
class BoardConfig:
    """What enrolment writes on a board.

    Attributes:
        fleet, device: whom it belongs to, and its random id.
        serial: the hardware serial that the id is bound to.
        profile: profile name.
        service: one of `SERVICES`: who keeps the agent running.
        address, port: where the agent listens; port 0 takes any free one and says it in `run/agent.json`.
        threads: for one inference.
        memory_limit_mib: what the agent may use.
        log_level: `debug`, `info`, `warning`.
        log_format: `text`, or `json` for one JSON object a line.
        queue_requests, queue_mib: what may wait for one model, in number and in tensors together.
        cache_mib: for answers that are kept, of all models together; 0 keeps none.
    """

    fleet: str
    device: str
    serial: str
    profile: str
    service: str
    address: str = "127.0.0.1"
    port: int = 8470
    threads: int = 1
    memory_limit_mib: int = 512
    log_level: str = "info"
    log_format: str = "text"
    queue_requests: int = 64
    queue_mib: int = 64
    cache_mib: int = 0
    schema: str = BOARD_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")
        check_name(self.device, what="device")
        if self.service not in SERVICES:
            raise DocumentInvalid(
                document="BoardConfig", reason=f"`service` must be one of {', '.join(SERVICES)}"
            )
        if not 0 <= self.port <= 65535:
            raise DocumentInvalid(
                document="BoardConfig", reason=f"`port` must be 0 to 65535, found {self.port}"
            )


@dataclass(frozen=True)
class RunningAgent:
    """`run/agent.json`: what the serving agent says of itself, written when it begins to listen.

    Attributes:
        pid, boot: of this start. generation: its number. port: where it listens. started: seconds since 1970.
        ready: every model is loaded and has answered once.
        error: code and sentence of what went wrong instead, as `EdgeError.to_plain`, or None.
        door: how the way in from other machines stands; None where nothing was said of it.
    """

    pid: int
    boot: str
    generation: int
    port: int
    started: float
    ready: bool = False
    error: Mapping[str, Any] | None = None
    door: DoorState | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise DocumentInvalid(document="RunningAgent", reason="`port` is none")
