"""The signed roles of the repository: read with suspicion, written leaf first.

The rule: what is read is verified from the fleet's root key down, so that nothing that someone else put into the
folder is ever signed anew; what is written begins with the role that changed and ends with `timestamp.json`, whose
rename is the moment of change. Files of a version that no snapshot names mean nothing and are written over.

    root ── targets (bundles/, runtimes/, releases/) ── desired (desired/* only, terminating) ── 32 hash bins
         ── snapshot, timestamp
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError as TufRepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from agent.contract.errors import RepositoryDamaged, RepositoryMissing
from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_BITS, DESIRED_PATHS, DESIRED_ROLE
from edge import durable
from edge.identity import KeyRing

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
Sign = Callable[[str], Signer]
"""From a role's name to its signer."""

YEAR = timedelta(days=365)
LIFETIME = {"root": 10 * YEAR, "targets": 5 * YEAR}
ONLINE_LIFETIME = YEAR
"""Of desired states, snapshot and timestamp: a board without contact for a year is a normal case."""
KEEP_SUPERSEDED_S = 86400.0
"""A client that reads over HTTP may still be reading what was replaced."""

_FILE = re.compile(r"(?P<version>[1-9][0-9]*)\.(?P<role>[a-z0-9-]+)\.json\Z")


def lifetime(role: str) -> timedelta:
    """How long a signature of `role` is good for."""
    return LIFETIME.get(role, ONLINE_LIFETIME)


def key_role(role: str) -> str:
    """Whose key signs for `role`: the bins are signed with the key of `desired`."""
    return DESIRED_ROLE if role.startswith(f"{DESIRED_BIN_PREFIX}-") else role


class Roles:
    """The roles as one timestamp names them. Change `signed` parts, then `commit`; make a new one after that."""

    def __init__(
        self,
        folder: Path,
        root: Metadata[Root],
        timestamp: Metadata[Timestamp],
        snapshot: Metadata[Snapshot],
        targets: Metadata[Targets],
        desired: Metadata[Targets],
    ) -> None:
        self._folder = folder
        self.root = root
        self.timestamp = timestamp
        self.snapshot = snapshot
        self._targets: dict[str, Metadata[Targets]] = {"targets": targets, DESIRED_ROLE: desired}

    @classmethod
    def create(cls, folder: Path, sign: Sign, now: datetime) -> None:
        """Sign the first version of every role and write them to the empty `folder`."""
        keys = {
            role: sign(role).public_key for role in ("root", "targets", "desired", "snapshot", "timestamp")
        }
        root = Root(consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(keys[role], role)
        desired_key = keys[DESIRED_ROLE]
        delegated = DelegatedRole(
            DESIRED_ROLE, [desired_key.keyid], 1, terminating=True, paths=[DESIRED_PATHS]
        )
        targets = Targets(
            delegations=Delegations({desired_key.keyid: desired_key}, roles={DESIRED_ROLE: delegated})
        )
        bins = SuccinctRoles([desired_key.keyid], 1, DESIRED_BITS, DESIRED_BIN_PREFIX)
        desired = Targets(delegations=Delegations({desired_key.keyid: desired_key}, succinct_roles=bins))
        roles = cls(
            folder, Metadata(root), Metadata(Timestamp()), Metadata(Snapshot()),
            Metadata(targets), Metadata(desired),
        )  # fmt: skip
        roles.root.signed.expires = now + lifetime("root")
        roles.root.sign(sign("root"))
        durable.write(folder / "1.root.json", roles.root.to_bytes())
        for name in bins.get_roles():
            roles._targets[name] = Metadata(Targets())
        for signed in (
            roles.timestamp.signed,
            roles.snapshot.signed,
            *(m.signed for m in roles._targets.values()),
        ):
            signed.version = 0
        roles.commit(roles._targets, sign, now)

    @classmethod
    def load(cls, folder: Path, keys: KeyRing) -> Roles:
        """Read and verify root, timestamp, snapshot, targets and `desired`; bins are read when they are asked for.

        Expiry is not looked at: it is for boards to refuse, and for `refresh` to mend.

        Raises:
            RepositoryMissing: there is none.
            RepositoryDamaged: a file is missing, or is not what the fleet's keys signed.
            KeyMissing, KeyUnreadable: the public root key.
        """
        if not (folder / "timestamp.json").exists():
            raise RepositoryMissing(path=folder.parent)
        root = _load_root_chain(folder, keys.public_key("root").keyid)
        timestamp = _read(Timestamp, folder / "timestamp.json", root.signed, "timestamp")
        version = timestamp.signed.snapshot_meta.version
        snapshot = _read(
            Snapshot,
            folder / f"{version}.snapshot.json",
            root.signed,
            "snapshot",
            timestamp.signed.snapshot_meta,
        )
        roles = cls(folder, root, timestamp, snapshot, Metadata(Targets()), Metadata(Targets()))
        roles._targets["targets"] = roles._read_targets("targets", root.signed)
        roles._targets[DESIRED_ROLE] = roles._read_targets(DESIRED_ROLE, roles._targets["targets"].signed)
        return roles

    @property
    def targets(self) -> Targets:
        """The role `targets`: everything but desired states."""
        return self._targets["targets"].signed

    def bin_of(self, path: str) -> str:
        """Name of the hash bin that the target `path` belongs to."""
        return self._succinct().get_role_for_target(path)

    def bin(self, name: str) -> Targets:
        """The hash bin called `name`."""
        if name not in self._targets:
            self._targets[name] = self._read_targets(name, self._targets[DESIRED_ROLE].signed)
        return self._targets[name].signed

    def files(self, roles: Iterable[str]) -> dict[str, Path]:
        """File names to files: every root, timestamp, snapshot, and of `roles` the versions that snapshot names."""
        names = [f"{version}.root.json" for version in range(1, self.root.signed.version + 1)]
        names += ["timestamp.json", f"{self.snapshot.signed.version}.snapshot.json"]
        names += [f"{self.snapshot.signed.meta[f'{role}.json'].version}.{role}.json" for role in roles]
        return {name: self._folder / name for name in names}

    def versions(self, roles: Iterable[str]) -> dict[str, int]:
        """Root, timestamp, snapshot, and `roles` as snapshot names them, to their versions."""
        top = (self.root.signed, self.timestamp.signed, self.snapshot.signed)
        named = {role: self.snapshot.signed.meta[f"{role}.json"].version for role in roles}
        return {signed.type: signed.version for signed in top} | named

    def expiry(self) -> dict[str, datetime]:
        """When each role's signature ends, bins included, in UTC."""
        loaded: dict[str, Metadata[Any]] = {
            "root": self.root, "timestamp": self.timestamp, "snapshot": self.snapshot, **self._all_targets(),
        }  # fmt: skip
        return {role: metadata.signed.expires for role, metadata in loaded.items()}

    def due(self, now: datetime) -> tuple[str, ...]:
        """Roles whose signature has less than half of its time left."""
        return tuple(role for role, end in self.expiry().items() if end - now < lifetime(role) / 2)

    def commit(self, changed: Iterable[str], sign: Sign, now: datetime) -> tuple[str, ...]:
        """Sign the `changed` roles of targets, and those of desired states that are due; write them, leaf first.

        Args:
            changed: names of roles whose `signed` part was changed, or that are to be signed anew.
            sign: gives the signers.
            now: the time that expiry is counted from.

        Returns:
            The names of all roles that were signed.
        """
        names = set(changed)
        if (self._folder / "timestamp.json").exists():
            names.update(role for role in self.due(now) if key_role(role) == DESIRED_ROLE)
        ordered = sorted(names, key=lambda role: (role == "targets", role == DESIRED_ROLE, role))
        for role in ordered:
            data = _sign(self._targets[role], role, sign, now)
            durable.write(self._folder / f"{self._targets[role].signed.version}.{role}.json", data)
            self.snapshot.signed.meta[f"{role}.json"] = _meta(self._targets[role].signed.version, data)
        data = _sign(self.snapshot, "snapshot", sign, now)
        durable.write(self._folder / f"{self.snapshot.signed.version}.snapshot.json", data)
        self.timestamp.signed.snapshot_meta = _meta(self.snapshot.signed.version, data)
        durable.write(self._folder / "timestamp.json", _sign(self.timestamp, "timestamp", sign, now))
        self._sweep()
        return (*ordered, "snapshot", "timestamp")

    def _succinct(self) -> SuccinctRoles:
        delegations = self._targets[DESIRED_ROLE].signed.delegations
        if delegations is None or delegations.succinct_roles is None:
            raise RepositoryDamaged(path=self._folder, reason="`desired` delegates to no hash bins")
        return delegations.succinct_roles

    def _all_targets(self) -> dict[str, Metadata[Targets]]:
        for name in self._succinct().get_roles():
            self.bin(name)
        return self._targets

    def _read_targets(self, role: str, delegator: Root | Targets) -> Metadata[Targets]:
        meta = self.snapshot.signed.meta.get(f"{role}.json")
        if meta is None:
            raise RepositoryDamaged(path=self._folder, reason=f"its snapshot does not name `{role}`")
        return _read(Targets, self._folder / f"{meta.version}.{role}.json", delegator, role, meta)

    def _sweep(self) -> None:
        """Remove versions that were replaced long enough ago. The chain of roots stays whole."""
        named = {"snapshot": self.snapshot.signed.version}
        named.update({name[:-5]: meta.version for name, meta in self.snapshot.signed.meta.items()})
        for path in self._folder.iterdir():
            match = _FILE.match(path.name)
            replaced = match and int(match["version"]) < named.get(match["role"], 0)
            if replaced or path.name.startswith(durable.PREFIX):
                sweep(path)


def sweep(path: Path) -> None:
    """Remove a file that nothing refers to any more, when it is old enough."""
    try:
        if path.stat().st_mtime < time.time() - KEEP_SUPERSEDED_S:
            path.unlink()
    except FileNotFoundError:
        return


def target_file(path: str, data: bytes) -> TargetFile:
    """The description of a target with these bytes."""
    return TargetFile.from_data(path, data, ["sha256"])


def _load_root_chain(folder: Path, keyid: str) -> Metadata[Root]:
    """The newest root, each verified by the one before it; the newest must be signed by the fleet's root key."""
    root: Metadata[Root] | None = None
    version = 1
    while (path := folder / f"{version}.root.json").exists():
        with _suspicion(path):
            found = Metadata[Root].from_bytes(path.read_bytes())
            if found.signed.version != version:
                raise RepositoryDamaged(path=path, reason=f"it calls itself version {found.signed.version}")
            for delegator in [root, found]:
                if delegator:
                    delegator.signed.verify_delegate("root", found.signed_bytes, found.signatures)
        root = found
        version += 1
    if root is None:
        raise RepositoryDamaged(path=folder / "1.root.json", reason="it is not there")
    if keyid not in root.signed.roles["root"].keyids:
        raise RepositoryDamaged(path=folder, reason="its root is not signed by this fleet's root key")
    return root


def _read(
    kind: type[S], path: Path, delegator: Root | Targets, role: str, meta: MetaFile | None = None
) -> Metadata[S]:
    with _suspicion(path):
        data = path.read_bytes()
        if meta is not None:
            meta.verify_length_and_hashes(data)
        metadata = Metadata[S].from_bytes(data)
        if not isinstance(metadata.signed, kind):
            raise RepositoryDamaged(path=path, reason=f"it is no `{kind.type}`")
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        if meta is not None and metadata.signed.version != meta.version:
            raise RepositoryDamaged(path=path, reason=f"it calls itself version {metadata.signed.version}")
        return metadata


@contextmanager
def _suspicion(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RepositoryDamaged(path=path, reason="it is not there") from error
    except (TufRepositoryError, DeserializationError, ValueError, OSError) as error:
        raise RepositoryDamaged(path=path, reason=str(error) or type(error).__name__) from error


def _sign(metadata: Metadata[Any], role: str, sign: Sign, now: datetime) -> bytes:
    metadata.signed.version += 1
    metadata.signed.expires = now.astimezone(UTC).replace(microsecond=0) + lifetime(role)
    metadata.sign(sign(key_role(role)))
    return metadata.to_bytes()


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])
