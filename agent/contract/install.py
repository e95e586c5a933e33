"""What the laptop and a board say to each other when the board is enrolled.

The rule: apart from the board's own documents, since it needs the runtime's manifest, which is large, and an agent that
starts does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.board import BoardConfig
from agent.contract.runtime import RuntimeManifest


@dataclass(frozen=True)
class InstallRequest:
    """What the laptop hands to `install` on a bare board, on standard input.

    Attributes:
        config: the board's configuration to be.
        runtime: the manifest; its layers lie in the inbox as blobs.
        runtime_digest: of the stored manifest bytes, which lie in the inbox as a blob too.
        root_metadata: the fleet's TUF root metadata, as text.
        user: who may write to the inbox.
        adopt: take the board from another fleet; its earlier life ends. re_enrol: give a cloned card a new identity.
        reset_trust: whatever root of trust and fleet it has, take these; what runs goes on until the next update.
        inbox: folder that holds `blobs/`; None for the board folder's own.
    """

    config: BoardConfig
    runtime: RuntimeManifest
    runtime_digest: str
    root_metadata: str
    user: str
    adopt: bool = False
    re_enrol: bool = False
    reset_trust: bool = False
    inbox: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Enrolment:
    """What `install` answers: the board's identity. `public_key`: Ed25519, 64 hexadecimal digits."""

    device: str
    fleet: str
    serial: str
    public_key: str
    service: str
    persistent: bool
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
