"""Requests to a board's agent over MQTT, and its answers.

The rule: a command is carried out once and not after its time; whoever asked is told how it fares.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.messages import MESSAGE_SCHEMA


@dataclass(frozen=True)
class Command:
    """A request to the agent. It is not carried out after `expires_at` (seconds since 1970), nor twice."""

    id: str
    action: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expires_at: int = 0
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


class ReplyState(str, enum.Enum):
    """How a command fares."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reply:
    """The answer to a command, more than one while it runs."""

    id: str
    state: ReplyState
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    schema: str = MESSAGE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)
