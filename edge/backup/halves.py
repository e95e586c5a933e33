"""Which private keys a backup holds.

The rule: what counts are the keys that the signed metadata name, and the private halves that lie in `keys/`: what is on
a stick or in another person's folder is in no backup.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.config import FleetFolder
from edge.identity import KeyRing, short
from edge.repository.trust import Trust


@dataclass(frozen=True, kw_only=True)
class Halves:
    """The private halves of a role's keys.

    Attributes:
        role: whose. threshold: how many of its keys must sign.
        inside, outside: short ids of keys whose private half is in the backup, and of the others.
        enough: with what is inside alone can be signed for the role.
    """

    role: str
    threshold: int
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    enough: bool


def halves(fleet: FleetFolder) -> tuple[Halves, ...]:
    """Those that a backup of this folder holds, root first.

    Raises:
        RepositoryError, ContractError: it can't be told: the folder is damaged.
    """
    found = []
    for state in Trust(fleet.repository, KeyRing(fleet.keys, fleet.key_folders)).states():
        here = {each.key.keyid for each in state.held if each.private and each.private.parent == fleet.keys}
        keyids = [key.keyid for key in state.keys.keys]
        inside = tuple(short(keyid) for keyid in keyids if keyid in here)
        found.append(
            Halves(
                role=state.keys.role,
                threshold=state.keys.threshold,
                inside=inside,
                outside=tuple(short(keyid) for keyid in keyids if keyid not in here),
                enough=len(inside) >= state.keys.threshold,
            )
        )
    return tuple(found)
