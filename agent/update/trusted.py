"""What the board knows of the repository's roles: the highest versions that it verified.

The rule: read from the metadata that the update process keeps, which it writes after it verified it and never before;
what can't be read is not told.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from agent.contract.messages import TrustedRole
from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_ROLE

ROLES = ("root", "timestamp", "snapshot", "targets", DESIRED_ROLE)
_EXPIRES = "%Y-%m-%dT%H:%M:%SZ"


def trusted_roles(metadata: Path) -> tuple[TrustedRole, ...]:
    """Version and end of each role whose metadata lies in the folder `metadata`, the board's bin last."""
    bins = sorted(path.stem for path in metadata.glob(f"{DESIRED_BIN_PREFIX}-*.json"))
    found = (_read(metadata / f"{role}.json", role) for role in (*ROLES, *bins))
    return tuple(role for role in found if role is not None)


def _read(path: Path, role: str) -> TrustedRole | None:
    try:
        signed = json.loads(path.read_bytes())["signed"]
        expires = datetime.strptime(signed["expires"], _EXPIRES).replace(tzinfo=timezone.utc)
        return TrustedRole(role=role, version=int(signed["version"]), expires=int(expires.timestamp()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
