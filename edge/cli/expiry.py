"""What expires soon, said wherever a person publishes, flashes or asks the doctor.

The rule: nobody learns from a board that refuses an update that a signature has run out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

DAY_S = 86_400
WARN_DAYS = 60
BY_PASSPHRASE = ("root", "targets")


def days_left(end: datetime) -> int:
    """Whole days until `end`; below 0 where it is past."""
    return int((end.timestamp() - time.time()) // DAY_S)


def renewed_by(role: str) -> str:
    """The command that signs `role` anew."""
    return "edge key renew" if role in BY_PASSPHRASE else "edge repo refresh"


def expiring(expiry: Mapping[str, datetime]) -> tuple[str, ...]:
    """One sentence for each role whose signature ends within 60 days; the bins of desired states are one."""
    first: dict[str, datetime] = {}
    for role, end in expiry.items():
        name = "desired" if role.startswith("desired") else role
        first[name] = min(end, first.get(name, end))
    return tuple(
        f"the signature of `{role}` {_when(days_left(end))}: run `{renewed_by(role)}`"
        for role, end in first.items()
        if days_left(end) < WARN_DAYS
    )


def _when(days: int) -> str:
    if days < 0:
        return "has expired, and boards take no updates"
    return "expires today" if days == 0 else f"expires in {days} {'day' if days == 1 else 'days'}"
