"""What the fleet folder can do with its signed repository.

The rule: one writer at a time, every request is looked at before anything is signed, and bytes come before the words
about them. The `targets` key (a passphrase is asked for) says what may run: bundles, runtimes, releases. The
`desired` key, a plain file, says which board runs what, and nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import Signer
from tuf.api.metadata import TargetFile

from agent.contract.codec import decode, digest, encode
from agent.contract.errors import (
    DigestMismatch,
    FileMissing,
    NothingAssigned,
    ReleaseUnknown,
    RepositoryExists,
)
from agent.contract.manifest import BundleManifest
from agent.contract.names import check_name, parse_release
from agent.contract.release import MAX_COUNTER, Budgets, DesiredState, Release
from agent.contract.runtime import RuntimeManifest
from agent.contract.targets import DESIRED_ROLE, bundle_target, desired_target, release_target, runtime_target
from edge import durable
from edge.config import lock
from edge.identity import ROLES, KeyRing, Passphrase, RoleKeys
from edge.repository import assignment
from edge.repository.admission import Publishable, admit
from edge.repository.pushset import PushSet, link_set
from edge.repository.roles import Roles, target_file
from edge.repository.store import Store, prefixed
from edge.suggestion import did_you_mean

T = TypeVar("T")


def new_nonce() -> str:
    """32 random hexadecimal digits for a desired state; the board's signed report repeats them."""
    return secrets.token_hex(16)


class Repository:
    """A fleet's repository. Every call reads the folder anew, so that many processes and threads may use it."""

    def __init__(
        self,
        folder: Path,
        keys: KeyRing,
        passphrase: Passphrase | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._store = Store(folder)
        self._keys = keys
        self._passphrase = passphrase
        self._clock = clock

    @classmethod
    def create(
        cls,
        folder: Path,
        keys: KeyRing,
        passphrase: Passphrase | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> Repository:
        """Make an empty repository in `folder`, signed with `keys`.

        Raises:
            RepositoryExists: there is one.
            KeyMissing, PassphraseMissing, PassphraseWrong: the keys.
        """
        repository = cls(folder, keys, passphrase, clock=clock)
        durable.make_folder(repository._metadata)
        repository._store.create()
        with lock(folder):
            if (repository._metadata / "timestamp.json").exists():
                raise RepositoryExists(path=folder)
            first = {role: RoleKeys(role, (keys.public_key(role),)) for role in ROLES}
            Roles.create(repository._metadata, first, repository._sign, repository._now())
        return repository

    @classmethod
    def open(
        cls,
        folder: Path,
        keys: KeyRing,
        passphrase: Passphrase | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> Repository:
        """The repository in `folder`, verified. `passphrase` is called when the `targets` key is needed.

        Raises:
            RepositoryMissing: there is none.
            RepositoryDamaged: it is not what these keys signed.
        """
        repository = cls(folder, keys, passphrase, clock=clock)
        repository._load()
        return repository

    # --- what may run: the `targets` key ---------------------------------------------------------------------

    def publish(
        self,
        name: str,
        bundles: Sequence[Publishable],
        *,
        budgets: Budgets | None = None,
        force: bool = False,
        created_at: int | None = None,
    ) -> Release:
        """Make the next release of `name` out of bundles, one for each profile.

        Raises:
            those of `admission.admit`.
            FileMissing, SizeMismatch, DigestMismatch: a bundle's file is not what its manifest says.
            PassphraseMissing, PassphraseWrong: of the `targets` key.
            FleetFolderBusy: someone else is writing.
        """
        admitted = admit(name, bundles, force=force)
        self._sign(self._load().keys_of("targets"))
        documents: dict[str, bytes] = {}
        for bundle in admitted:
            for entry in bundle.manifest.files:
                self._store.take_blob(bundle.folder / entry.path, entry.sha256, entry.size_bytes, entry.path)
            documents[bundle_target(bundle.digest)] = bundle.manifest_bytes
        with self._alone() as roles:
            version = 1 + max((known[1] for known in roles.releases() if known[0] == name), default=0)
            release = Release(
                name=name,
                version=version,
                bundles={bundle.manifest.profile: bundle.digest for bundle in admitted},
                budgets=budgets or Budgets(),
                forced=any(bundle.objection for bundle in admitted),
                created_at=int(self._clock()) if created_at is None else created_at,
            )
            documents[release_target(name, version)] = encode(release)
            self._add_targets(roles, documents)
        return release

    def add_runtime(self, manifest_bytes: bytes, blobs: Mapping[str, Path]) -> str:
        """Take in a runtime, unless it is there (then no key is needed).

        Args:
            manifest_bytes: stored bytes of its manifest.
            blobs: SHA-256 of each layer to its file.

        Returns:
            The runtime's digest.

        Raises:
            DocumentInvalid: the manifest.
            FileMissing, SizeMismatch, DigestMismatch: a layer.
            PassphraseMissing, PassphraseWrong, FleetFolderBusy: as in `publish`.
        """
        manifest = decode(RuntimeManifest, manifest_bytes)
        found = digest(manifest_bytes)
        if self.has_runtime(found):
            return found
        self._sign(self._load().keys_of("targets"))
        for layer in manifest.layers:
            file = f"{layer.name}-{layer.version}"
            if layer.sha256 not in blobs and not self._store.has_blob(layer.sha256, layer.size_bytes):
                raise FileMissing(file=file, what=f"runtime {found[:12]}")
            if layer.sha256 in blobs:
                self._store.take_blob(blobs[layer.sha256], layer.sha256, layer.size_bytes, file)
        with self._alone() as roles:
            self._add_targets(roles, {runtime_target(found): manifest_bytes})
        return found

    def has_runtime(self, runtime: str) -> bool:
        """Whether the runtime of this digest is there, with all its layers."""
        target = self._load().targets.targets.get(runtime_target(runtime))
        if target is None:
            return False
        manifest = decode(RuntimeManifest, self._store.read(target))
        return all(self._store.has_blob(layer.sha256, layer.size_bytes) for layer in manifest.layers)

    def releases(self) -> tuple[Release, ...]:
        """All releases, by name and version."""
        roles = self._load()
        return tuple(self._release(roles, name, version) for name, version in roles.releases())

    def release(self, title: str) -> Release:
        """The release `digits@2`.

        Raises:
            NameInvalid: `title` is not of that form.
            ReleaseUnknown: there is none; the sentence lists what there is.
        """
        name, version = parse_release(title)
        roles = self._load()
        known = roles.releases()
        if (name, version) not in known:
            titles = [f"{known_name}@{known_version}" for known_name, known_version in known]
            listed = ", ".join(titles) or "none yet"
            raise ReleaseUnknown(release=title, known=listed + did_you_mean(title, titles))
        return self._release(roles, name, version)

    def bundle(self, bundle: str) -> BundleManifest:
        """The manifest of the bundle of this digest. Raises FileMissing when it was never published."""
        return self._manifest(BundleManifest, bundle_target(bundle))

    def bundle_file(self, manifest: BundleManifest, path: str) -> bytes:
        """A file of a published bundle, verified.

        Raises:
            RepositoryDamaged, DigestMismatch: it is not what the manifest says.
        """
        entry = manifest.file(path)
        data = self._store.blob(entry.sha256, entry.size_bytes).read_bytes()
        if (found := digest(data)) != entry.sha256:
            raise DigestMismatch(file=path, expected=entry.sha256, found=found)
        return data

    def runtime(self, runtime: str) -> RuntimeManifest:
        """The manifest of the runtime of this digest. Raises FileMissing when it was never added."""
        return self._manifest(RuntimeManifest, runtime_target(runtime))

    # --- which board runs what: the `desired` key ------------------------------------------------------------

    def assign(self, *wanted: DesiredState) -> None:
        """Sign desired states, all of them in one change of the repository.

        Raises:
            AssignRefused: a counter that does not grow, a runtime, release or bundle that is not here, no nonce.
            BlobMissing, RepositoryDamaged: what it leads to could not be sent; nothing is signed.
            FleetFolderBusy: someone else is writing.
        """
        assignment.check_devices(wanted)
        with self._alone() as roles:
            changed: set[str] = set()
            targets: list[TargetFile] = []
            for state in wanted:
                assignment.check(
                    state,
                    last=self._desired(roles, state.device),
                    targets=roles.targets.targets,
                    release=lambda name, version: self._release(roles, name, version),
                )
                assignment.led_to(state, roles.targets.targets, self._store)
            for state in wanted:
                path = desired_target(state.device)
                targets.append(target_file(path, data := encode(state)))
                self._store.write(targets[-1], data)
                name = roles.bin_of(path)
                roles.bin(name).targets[path] = targets[-1]
                changed.add(name)
            if changed:
                roles.commit(changed, self._sign, self._now())
            for target in targets:
                self._store.sweep(target)

    def desired(self, device: str) -> DesiredState | None:
        """What the device with this id is asked to run, or None."""
        return self._desired(self._load(), device)

    def next_counter(self, device: str, *, seen: int = 0) -> int:
        """A counter for the device's next desired state.

        Args:
            device: its id.
            seen: the highest that the board itself reports; it knows better after an old backup was restored. The
                highest that there can be was signed with a stolen key: rotating that is the way past it, not counting.
        """
        last = self.desired(device)
        return 1 + max(seen if seen < MAX_COUNTER else 0, last.counter if last else 0)

    def push_set(self, device: str, *, signed_alone: bool = False) -> PushSet:
        """What the board with this id is to be sent so that it can verify and run its desired state.

        Args:
            device: its id.
            signed_alone: the roles and the desired state alone, for a board that carried that out already.

        Raises:
            NothingAssigned: it has none.
            BlobMissing: a file of what it is to run is not here.
            RepositoryDamaged: a file is changed, or what was signed is missing.
            FleetFolderBusy: someone else is writing.
        """
        check_name(device, what="device id")
        with self._alone() as roles:
            state = self._desired(roles, device)
            if state is None:
                raise NothingAssigned(device=device)
            path = desired_target(device)
            wanted = [roles.bin(roles.bin_of(path)).targets[path]]
            blobs: dict[str, Path] = {}
            if not signed_alone:
                manifests, blobs = assignment.led_to(state, roles.targets.targets, self._store)
                wanted += manifests
            return link_set(
                self._folder / "outbox" / device,
                metadata=roles.files(["targets", DESIRED_ROLE, roles.bin_of(path)]),
                targets={prefixed(target): self._store.path(target) for target in wanted},
                blobs=blobs,
            )

    def versions(self, device: str) -> dict[str, int]:
        """The versions of the roles that the board with this id would be shown now, its own bin among them."""
        roles = self._load()
        return roles.versions(["targets", DESIRED_ROLE, roles.bin_of(desired_target(device))])

    # --- time ------------------------------------------------------------------------------------------------

    def refresh(self, *, with_targets: bool = False, force: bool = False) -> tuple[str, ...]:
        """Sign anew what has less than half of its time left: desired states, snapshot, timestamp.

        Args:
            with_targets: `targets` too, where it is due; that needs the passphrase.
            force: snapshot and timestamp in any case.

        Returns:
            The roles that were signed, none when there was nothing to do.

        Raises:
            PassphraseMissing, PassphraseWrong: `targets` is due, and its key could not be opened.
            FleetFolderBusy: someone else is writing.
        """
        kept = {"root"} if with_targets else {"root", "targets"}
        with self._alone() as roles:
            due = set(roles.due(self._now())) - kept
            if not due and not force:
                return ()
            return roles.commit({"targets"} & due, self._sign, self._now())

    def expiry(self) -> Mapping[str, datetime]:
        """When each role's signature ends, in UTC. Boards take no updates after the first of these."""
        return self._load().expiry()

    # --- inside ----------------------------------------------------------------------------------------------

    def root_metadata(self) -> bytes:
        """The newest root metadata: what a board is given at enrolment to verify everything else by."""
        return self._load().root.to_bytes()

    @property
    def _metadata(self) -> Path:
        return self._folder / "metadata"

    def _load(self) -> Roles:
        return Roles.load(self._metadata, self._keys)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    @contextmanager
    def _alone(self) -> Iterator[Roles]:
        """The roles, while nobody else may write; a change of keys that was cut short is settled first."""
        with lock(self._folder):
            roles = self._load()
            roles.settle()
            yield roles

    def _sign(self, keys: RoleKeys) -> Sequence[Signer]:
        return self._keys.signers(keys, self._passphrase)

    def _add_targets(self, roles: Roles, documents: Mapping[str, bytes]) -> None:
        for path, data in documents.items():
            target = target_file(path, data)
            self._store.write(target, data)
            roles.targets.targets[path] = target
        roles.commit(["targets"], self._sign, self._now())

    def _manifest(self, kind: type[T], path: str) -> T:
        target = self._load().targets.targets.get(path)
        if target is None:
            raise FileMissing(file=path, what="the repository")
        return decode(kind, self._store.read(target))

    def _release(self, roles: Roles, name: str, version: int) -> Release:
        return decode(Release, self._store.read(roles.targets.targets[release_target(name, version)]))

    def _desired(self, roles: Roles, device: str) -> DesiredState | None:
        path = desired_target(check_name(device, what="device id"))
        target = roles.bin(roles.bin_of(path)).targets.get(path)
        return decode(DesiredState, self._store.read(target)) if target else None
