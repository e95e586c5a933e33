"""Going past what boards have seen: an old copy of the repository catches up with the versions of the one that is lost.

The rule: a board takes nothing that is older than what it saw, in any role that its last snapshot named. No role of
targets ever has a higher version than the snapshot that names it; so desired states, all bins of them and the snapshot
go past the newest snapshot that a board saw, together. `targets`, which needs its passphrase, goes past only what a
board saw of it. How far one board may lead is bounded: it is one board's word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Signed

from agent.contract.codec import digest
from agent.contract.errors import RootOther, VersionsAbsurd
from agent.contract.messages import TrustedRole
from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_ROLE
from edge.config import lock
from edge.identity import KeyRing, Passphrase
from edge.repository.roles import Roles

MOST_AHEAD = 1_000_000
"""So many versions ahead of this folder a board is believed to be. Each assignment is one; a fleet of a thousand boards
makes as many in years. Nobody is harmed by such a jump, and many of them reach no number that anything ends at."""


class Versions:
    """The versions of a fleet's repository."""

    def __init__(
        self,
        folder: Path,
        keys: KeyRing,
        passphrase: Passphrase | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`passphrase` is called when `targets` must go past something."""
        self._folder = folder
        self._keys = keys
        self._passphrase = passphrase
        self._clock = clock

    def knows_root(self, sha256: str) -> bool:
        """Whether root metadata with this digest is of this repository: a board that was enrolled with it is ours."""
        files = (self._folder / "metadata").glob("*.root.json")
        return any(digest(path.read_bytes()) == sha256 for path in files)

    def ahead(self, trust: Iterable[TrustedRole]) -> dict[str, int]:
        """Roles of which a board has seen what this repository did not sign, with the version that it saw."""
        roles = self._load()
        return {
            one.role: one.version
            for one in trust
            if (own := _signed(roles, one.role)) is not None and _unseen(one, own)
        }

    def check(self, trust: Iterable[TrustedRole], *, device: str, most: int | None = MOST_AHEAD) -> None:
        """Look at what a board says that it has seen, before it is gone past.

        Args:
            trust: of its signed report.
            device: its name, for the error.
            most: how many versions ahead it is believed to be; None for any.

        Raises:
            RootOther: its keys are newer than this folder's, or were changed to others at the same time.
            VersionsAbsurd: it is further ahead than `most`.
        """
        roles = self._load()
        for one in trust:
            own = _signed(roles, one.role)
            if own is None:
                continue
            if one.role == "root" and _unseen(one, own):
                reason = f"they were changed after this copy was made: root {one.version}, here {own.version}"
                raise RootOther(device=device, reason=reason)
            if most is not None and one.version - own.version > most:
                raise VersionsAbsurd(
                    device=device, role=one.role, seen=one.version, own=own.version, most=most
                )

    def go_past(self, seen: Mapping[str, int]) -> int:
        """Sign all roles but root anew, each with a version that is higher than any that was seen.

        `targets` is left as it is where `seen` does not name it, so that no passphrase is needed.

        Args:
            seen: roles of which boards have seen what this repository did not sign, with the highest such version.

        Returns:
            The version of timestamp now.

        Raises:
            PassphraseMissing, PassphraseWrong: `targets` must go past something.
            FleetFolderBusy: someone else is writing.
        """
        with self._alone() as roles:
            below = {DESIRED_ROLE: roles.desired, **{name: roles.bin(name) for name in roles.load_bins()}}
            changed = list(below)
            if "targets" in seen:
                roles.targets.version = max(roles.targets.version, seen["targets"])
                changed.append("targets")
            snapshot, timestamp = roles.snapshot.signed, roles.timestamp.signed
            known = [seen.get(role, 0) for role in ("snapshot", *changed)]
            snapshot.version = max(snapshot.version, roles.targets.version, *known)
            timestamp.version = max(timestamp.version, seen.get("timestamp", 0), snapshot.version)
            for role in below.values():
                role.version = snapshot.version
            now = datetime.fromtimestamp(self._clock(), UTC)
            roles.commit(changed, lambda keys: self._keys.signers(keys, self._passphrase), now)
            return int(timestamp.version)

    def _load(self) -> Roles:
        return Roles.load(self._folder / "metadata", self._keys)

    @contextmanager
    def _alone(self) -> Iterator[Roles]:
        with lock(self._folder):
            roles = self._load()
            roles.settle()
            yield roles


def _unseen(one: TrustedRole, own: Signed) -> bool:
    """Whether a board has seen what this repository did not sign.

    Of one number and with another end is another document: both were made after the copy.
    """
    if one.version == own.version:
        return one.expires != int(own.expires.timestamp())
    return one.version > own.version


def _signed(roles: Roles, role: str) -> Signed | None:
    """What is signed of a role that a board names, or None where there is no such role."""
    top: dict[str, Signed] = {
        "root": roles.root.signed,
        "timestamp": roles.timestamp.signed,
        "snapshot": roles.snapshot.signed,
        "targets": roles.targets,
        DESIRED_ROLE: roles.desired,
    }
    if role in top:
        return top[role]
    is_bin = role.startswith(f"{DESIRED_BIN_PREFIX}-") and f"{role}.json" in roles.snapshot.signed.meta
    return roles.bin(role) if is_bin else None
