"""The signed roles of the repository: read with suspicion, written leaf first.

The rule: what is read is verified from the fleet's root key down (`edge/repository/reading.py`); what is written begins
with the role that changed and ends with `timestamp.json`, whose rename is the moment of change, or with the next root,
where that changes too (`edge/repository/rekeying.py`). Files of a version that no snapshot names mean nothing and are
written over.

    root ── targets (bundles/, runtimes/, releases/) ── desired (desired/* only, terminating) ── 32 hash bins
         ── snapshot, timestamp
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
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

from agent.contract.errors import KeyMissing, RepositoryDamaged, RepositoryMissing
from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_BITS, DESIRED_PATHS, DESIRED_ROLE
from edge import durable
from edge.identity import KeyRing, RoleKeys
from edge.repository.reading import NEXT_ROOT, announced_root, check_anchor, read, root_chain

Sign = Callable[[RoleKeys], Sequence[Signer]]
"""From whose signatures count for a role to those who sign."""

TOP_LEVEL = ("root", "targets", "snapshot", "timestamp")
"""Roles whose keys root names; `targets` names those of desired states."""
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
    def create(cls, folder: Path, keys: Mapping[str, RoleKeys], sign: Sign, now: datetime) -> None:
        """Sign the first version of every role and write them to the empty `folder`. `keys`: by role."""
        root = Root(consistent_snapshot=True)
        for role in TOP_LEVEL:
            name_keys(root, keys[role])
        targets, desired = Targets(), Targets()
        delegate(targets, desired, keys[DESIRED_ROLE])
        roles = cls(
            folder, Metadata(root), Metadata(Timestamp()), Metadata(Snapshot()),
            Metadata(targets), Metadata(desired),
        )  # fmt: skip
        roles.root.signed.version = 0
        durable.write(folder / "1.root.json", sign_anew(roles.root, "root", sign(keys["root"]), now))
        for name in roles._succinct().get_roles():
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
        anchors = [held.key.keyid for held in keys.held("root")]
        if not anchors:
            raise KeyMissing(role="root")
        newest = root_chain(folder)
        if (following := announced_root(folder, newest)) is not None:
            try:
                check_anchor(folder, following, anchors)
                return cls._under(folder, following)
            except RepositoryDamaged:  # it never came into force
                pass
        check_anchor(folder, newest, anchors)
        return cls._under(folder, newest)

    @classmethod
    def _under(cls, folder: Path, root: Metadata[Root]) -> Roles:
        timestamp = read(Timestamp, folder / "timestamp.json", root.signed, "timestamp")
        version = timestamp.signed.snapshot_meta.version
        snapshot = read(
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

    @property
    def desired(self) -> Targets:
        """The role `desired`: it names the bins."""
        return self._targets[DESIRED_ROLE].signed

    def releases(self) -> list[tuple[str, int]]:
        """Name and version of every release, sorted."""
        found = []
        for path in self.targets.targets:
            kind, _, rest = path.partition("/")
            if kind == "releases":
                name, _, file = rest.partition("/")
                found.append((name, int(file.removesuffix(".json"))))
        return sorted(found)

    def bin_of(self, path: str) -> str:
        """Name of the hash bin that the target `path` belongs to."""
        return self._succinct().get_role_for_target(path)

    def bin(self, name: str) -> Targets:
        """The hash bin called `name`."""
        if name not in self._targets:
            self._targets[name] = self._read_targets(name, self._targets[DESIRED_ROLE].signed)
        return self._targets[name].signed

    def keys_of(self, role: str) -> RoleKeys:
        """Whose signatures count for a role; for a bin, those of `desired`."""
        name = key_role(role)
        delegator = self.root.signed if name in TOP_LEVEL else self.targets
        found = delegator.get_delegated_role(name)
        return RoleKeys(name, tuple(delegator.get_key(keyid) for keyid in found.keyids), found.threshold)

    def load_bins(self) -> tuple[str, ...]:
        """Read all bins, and say their names."""
        return tuple(role for role in self._all_targets() if role not in ("targets", DESIRED_ROLE))

    def announce(self, root: Metadata[Root]) -> None:
        """Make `root` the next one, all but in force: what is committed from now on is signed for it."""
        durable.write(self._folder / NEXT_ROOT, root.to_bytes())
        self.root = root

    def settle(self) -> None:
        """End a change of root: it is in force now, or was never. Only the one who holds the folder may.

        A crash may have left it announced; what was loaded decides whether it came into force.
        """
        announced = self._folder / NEXT_ROOT
        if not announced.exists():
            return
        path = self._folder / f"{self.root.signed.version}.root.json"
        if not path.exists():
            durable.write(path, announced.read_bytes())
        announced.unlink()
        durable.flush_folder(self._folder)

    def delegate(self, keys: RoleKeys) -> None:
        """Let other keys sign desired states: `targets`, `desired` and all bins must be committed then."""
        delegate(self.targets, self._targets[DESIRED_ROLE].signed, keys)

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
            data = self._signed(self._targets[role], role, sign, now)
            durable.write(self._folder / f"{self._targets[role].signed.version}.{role}.json", data)
            self.snapshot.signed.meta[f"{role}.json"] = _meta(self._targets[role].signed.version, data)
        data = self._signed(self.snapshot, "snapshot", sign, now)
        durable.write(self._folder / f"{self.snapshot.signed.version}.snapshot.json", data)
        self.timestamp.signed.snapshot_meta = _meta(self.snapshot.signed.version, data)
        data = self._signed(self.timestamp, "timestamp", sign, now)
        durable.write(self._folder / "timestamp.json", data)
        self._sweep()
        return (*ordered, "snapshot", "timestamp")

    def _signed(self, metadata: Metadata[Any], role: str, sign: Sign, now: datetime) -> bytes:
        return sign_anew(metadata, role, sign(self.keys_of(role)), now)

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
        return read(Targets, self._folder / f"{meta.version}.{role}.json", delegator, role, meta)

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


def name_keys(root: Root, keys: RoleKeys) -> None:
    """Let `keys`, and no others, sign for their role."""
    for keyid in list(root.roles[keys.role].keyids):
        root.revoke_key(keyid, keys.role)
    for key in keys.keys:
        root.add_key(key, keys.role)
    root.roles[keys.role].threshold = keys.threshold


def delegate(targets: Targets, desired: Targets, keys: RoleKeys) -> None:
    """Let `keys`, and no others, sign desired states."""
    known = {key.keyid: key for key in keys.keys}
    role = DelegatedRole(DESIRED_ROLE, list(known), keys.threshold, terminating=True, paths=[DESIRED_PATHS])
    targets.delegations = Delegations(dict(known), roles={DESIRED_ROLE: role})
    bins = SuccinctRoles(list(known), keys.threshold, DESIRED_BITS, DESIRED_BIN_PREFIX)
    desired.delegations = Delegations(dict(known), succinct_roles=bins)


def sign_anew(metadata: Metadata[Any], role: str, signers: Iterable[Signer], now: datetime) -> bytes:
    """The next version of a role's metadata, with a new expiry, signed by all of `signers`."""
    metadata.signed.version += 1
    metadata.signed.expires = now.astimezone(UTC).replace(microsecond=0) + lifetime(role)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])
