"""What the board knows of the repository's roles: the highest versions that it verified.

The rule: read from the metadata that the update process keeps, which it writes after it verified it and never before;
what can't be read is not told.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from agent.contract.messages import TrustedRole
from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_ROLE

ROLES = ("root", "timestamp", "snapshot", "targets", DESIRED_ROLE)
_EXPIRES = "%Y-%m-%dT%H:%M:%SZ"


def trusted_roles(metadata: Path) -> tuple[TrustedRole, ...]:
    """Version and end of each role whose metadata lies in the folder `metadata`, the board's bin last.

    Where a push was cut after its snapshot, that names newer versions than lie here: nothing older is taken any more.
    """
    bins = sorted(path.stem for path in metadata.glob(f"{DESIRED_BIN_PREFIX}-*.json"))
    named = _signed(metadata / "snapshot.json").get("meta", {})
    found = (_read(metadata / f"{role}.json", role, named) for role in (*ROLES, *bins))
    return tuple(role for role in found if role is not None)


def _read(path: Path, role: str, named: dict[str, Any]) -> TrustedRole | None:
    signed = _signed(path)
    try:
        expires = datetime.strptime(signed["expires"], _EXPIRES).replace(tzinfo=timezone.utc)
        version = max(int(signed["version"]), int(named.get(path.name, {}).get("version", 0)))
        return TrustedRole(role=role, version=version, expires=int(expires.timestamp()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _signed(path: Path) -> dict[str, Any]:
    """What a file of metadata says; nothing where it can't be read."""
    try:
        signed = json.loads(path.read_bytes())["signed"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return signed if isinstance(signed, dict) else {}
