"""The board's door beyond its loopback: `link/door.json`, written over SSH, and what the agent says of it.

The rule: without this document the agent can be reached from the board alone. With it, it can be reached from other
machines by TLS alone, and asked for answers by a token alone. Whoever may push to the board may write it; tokens lie
on the board as their SHA-256 alone, and the key of the certificate never left the board.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_digest, check_name

DOOR_SCHEMA = "edge.door/1"
DOOR_FILE = "door.json"
DOOR_PORT = 8471
MOST_TOKENS = 64


class Scope(str, Enum):
    """What a token opens: `INFER` asks models and looks at what is served; `CONTROL` also loads and unloads them."""

    INFER = "infer"
    CONTROL = "control"
    UNKNOWN = "unknown"
    """Of a newer host: it opens nothing."""


@dataclass(frozen=True)
class Token:
    """Who may come in. `sha256`: of the token's characters, which are random, so that it says nothing of them. `made`:
    seconds since 1970."""

    name: str
    sha256: str
    scope: Scope = Scope.INFER
    made: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, what="token")
        check_digest(self.sha256, what="sha256")


@dataclass(frozen=True)
class DoorConfig:
    """How the door stands open.

    Attributes:
        address, port: where the agent listens; an IP address of the board's, or `0.0.0.0` or `::` for all.
        certificate: PEM of a server certificate for the board's own `mqtt.key`.
        tokens: 1 to 64, each with a name of its own.
    """

    address: str
    certificate: str
    tokens: tuple[Token, ...]
    port: int = DOOR_PORT
    schema: str = DOOR_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != DOOR_SCHEMA:
            raise _invalid(f"`schema` is {self.schema!r}, this version reads {DOOR_SCHEMA!r}")
        if not is_address(self.address):
            raise _invalid("`address` must be an IP address")
        if not 1 <= self.port < 1 << 16:
            raise _invalid("`port` must be 1 to 65535")
        if not 1 <= len(self.tokens) <= MOST_TOKENS:
            raise _invalid(f"`tokens` must be 1 to {MOST_TOKENS}")
        if len({token.name for token in self.tokens}) < len(self.tokens):
            raise _invalid("two of `tokens` have the same name")


@dataclass(frozen=True)
class DoorState:
    """What the agent says of its door, in `run/agent.json`.

    Attributes:
        seen: SHA-256 of the `door.json` that this is about.
        address, port: where it listens, or was to. tokens: names. error: why it is shut, as `EdgeError.to_plain`.
    """

    seen: str
    address: str = ""
    port: int = 0
    tokens: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether only this machine itself gets there."""
    return address == "localhost" or (is_address(address) and ipaddress.ip_address(address).is_loopback)


def _invalid(reason: str) -> DocumentInvalid:
    return DocumentInvalid(document="DoorConfig", reason=reason)
