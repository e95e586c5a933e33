"""What a push brought, verified by TUF: only what comes out of here may be staged.

The rule: a desired state counts only when the role `desired` and none above it names it; bundles, runtimes and releases
count only when the top-level `targets` names them. python-tuf decides about signatures, versions, expiry and lengths;
this module gives it the inbox, the board's clock and durable writes, and turns every error of it into one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import Error as LibraryError
from tuf.api import exceptions
from tuf.api.metadata import Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from agent.contract.codec import MAX_DOCUMENT_BYTES, decode, digest
from agent.contract.errors import (
    DigestMismatch,
    DocumentInvalid,
    EdgeError,
    InboxIncomplete,
    MetadataExpired,
    NameInvalid,
    ReplayRefused,
    SignatureInvalid,
    StateDamaged,
)
from agent.contract.manifest import BundleManifest
from agent.contract.names import parse_release
from agent.contract.release import DesiredState, Release
from agent.contract.runtime import RuntimeManifest
from agent.contract.targets import (
    DESIRED_ROLE,
    bundle_target,
    desired_target,
    release_target,
    runtime_target,
)
from agent.update.clock import Clock, shown
from agent.update.files import Files, chunks_of
from agent.update.inbox import METADATA, TARGETS, Inbox

MAX_MANIFEST_BYTES = MAX_DOCUMENT_BYTES
_OLDER = re.compile(
    r"version (?P<found>\d+) must be >= (?P<seen>\d+)|must be >= (?P<seen2>\d+), got version (?P<found2>\d+)"
)
_ROLE = re.compile(r"([A-Za-z0-9_-]+)(?:\.json)? is expired")


class InboxFetcher(FetcherInterface):
    """python-tuf's network: the inbox. A file that is not there is its 404."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._inbox.open(*url.split("/")) as descriptor:
                yield from chunks_of(descriptor)
        except FileNotFoundError as error:
            raise exceptions.DownloadHTTPError(url, 404) from error


class BoardUpdater(Updater):
    """python-tuf's client with the board's clock and durable writes. The three private names that it touches are
    pinned by a test."""

    def __init__(self, *, folder: Path, inbox: Inbox, bootstrap: bytes, clock: Clock, files: Files) -> None:
        self._files = files
        self._inbox_fetcher = InboxFetcher(inbox)
        super().__init__(
            str(folder),
            METADATA,
            None,
            TARGETS,
            fetcher=self._inbox_fetcher,
            config=UpdaterConfig(),
            bootstrap=bootstrap,
        )
        self._trusted_set.reference_time = clock.as_datetime()

    def _persist_file(self, filename: str, data: bytes) -> None:
        path = Path(filename)
        if not (path.is_file() and path.read_bytes() == data):
            self._files.replace(path, data, mode=0o600)

    def _update_root_symlink(self) -> None:
        link = Path(self._dir, "root.json")
        target = f"root_history/{self._trusted_set.root.version}.root.json"
        if not (link.is_symlink() and str(link.readlink()) == target):
            self._files.replace_link(link, target)

    @property
    def top_level(self) -> Targets:
        """The role `targets`, verified."""
        return self._trusted_set.targets

    def earliest_expiry(self) -> tuple[str, datetime]:
        """Which of the verified roles expires first, and when."""
        roles = (Timestamp.type, Snapshot.type, Targets.type)
        found = [(role, self._trusted_set[role].expires) for role in roles if role in self._trusted_set]
        return min(found, key=lambda pair: pair[1])

    def expiry_of(self, role: str) -> str:
        """When a role expires, in words."""
        if role in self._trusted_set:
            return f"{self._trusted_set[role].expires:%Y-%m-%d %H:%M UTC}"
        return "a time before"

    def versions(self) -> str:
        """`tuf root 1, targets 3`."""
        return f"tuf root {self._trusted_set.root.version}, targets {self._trusted_set.targets.version}"

    def read(self, target: TargetFile) -> bytes:
        """A target's verified bytes out of the inbox."""
        prefix = next(iter(target.hashes.values()))
        folder, _, name = target.path.rpartition("/")
        data = self._inbox_fetcher.download_bytes(f"{TARGETS}/{folder}/{prefix}.{name}", target.length)
        target.verify_length_and_hashes(data)
        return data


@dataclass(frozen=True)
class Verified:
    """A desired state that may be acted on, and the bytes that it came as.

    Attributes:
        trust: which keys signed it, as a digest. versions: how it was verified, in words.
    """

    desired: DesiredState
    digest: str
    trust: str
    versions: str


class Verifier:
    """One look at the inbox."""

    def __init__(self, *, folder: Path, inbox: Inbox, bootstrap: bytes, clock: Clock, files: Files) -> None:
        """Read what is trusted already. Nothing of the inbox is read yet.

        Raises:
            StateDamaged: the root that the board was enrolled with can't be read.
        """
        self._clock = clock
        self._updater: BoardUpdater | None = None
        try:
            files.make_folder(folder / "root_history", mode=0o700)
            self._updater = BoardUpdater(
                folder=folder, inbox=inbox, bootstrap=bootstrap, clock=clock, files=files
            )
        except (exceptions.RepositoryError, DeserializationError, LibraryError, ValueError) as error:
            raise StateDamaged(path="root.json", reason=str(error)) from error

    def desired(self, *, fleet: str, device: str) -> Verified:
        """Verify the metadata and the desired state of this board.

        Raises:
            InboxIncomplete, InboxUnsafe, SignatureInvalid, ReplayRefused, MetadataExpired, DocumentInvalid: it can't
                be trusted.
        """
        path = desired_target(device)
        with self._translated("timestamp"):
            self._client.refresh()
        with self._translated(DESIRED_ROLE):
            if path in self._client.top_level.targets:
                raise SignatureInvalid(
                    role="targets", reason=f"it names `{path}`, which only `{DESIRED_ROLE}` may"
                )
            target = self._client.get_targetinfo(path)
            if target is None:
                raise SignatureInvalid(role=DESIRED_ROLE, reason=f"it names no desired state of `{device}`")
            data = self._client.read(target)
        document = decode(DesiredState, data)
        if (document.fleet, document.device) != (fleet, device):
            reason = f"it is for `{document.device}` of `{document.fleet}`, this is `{device}` of `{fleet}`"
            raise SignatureInvalid(role=DESIRED_ROLE, reason=reason)
        self._check_time(document)
        return Verified(
            desired=document, digest=digest(data), trust=self._trust(), versions=self._client.versions()
        )

    def runtime(self, runtime_digest: str) -> tuple[bytes, RuntimeManifest]:
        """A runtime's manifest. Raises as `desired`."""
        data = self._static(runtime_target(runtime_digest), expected=runtime_digest)
        return data, _decoded(RuntimeManifest, data)

    def bundle(self, bundle_digest: str) -> tuple[bytes, BundleManifest]:
        """A bundle's manifest. Raises as `desired`."""
        data = self._static(bundle_target(bundle_digest), expected=bundle_digest)
        return data, _decoded(BundleManifest, data)

    def release(self, title: str) -> Release:
        """A release (`digits@2`). Raises as `desired`."""
        name, version = parse_release(title)
        document: Release = _decoded(Release, self._static(release_target(name, version), expected=None))
        if document.title != title:
            raise SignatureInvalid(
                role="targets", reason=f"`{document.title}` lies in the place of `{title}`"
            )
        return document

    @property
    def _client(self) -> BoardUpdater:
        assert self._updater is not None  # noqa: S101 - set in __init__, or __init__ raised
        return self._updater

    def _static(self, path: str, *, expected: str | None) -> bytes:
        """The bytes of a target that the top-level role itself names."""
        with self._translated("targets"):
            target = self._client.top_level.targets.get(path)
            if target is None:
                raise SignatureInvalid(role="targets", reason=f"it does not name `{path}`")
            if target.length > MAX_MANIFEST_BYTES:
                raise DocumentInvalid(document=path, reason=f"it is {target.length} bytes long")
            data = self._client.read(target)
        if expected is not None and digest(data) != expected:
            raise DigestMismatch(file=path, expected=expected, found=digest(data))
        return data

    def _check_time(self, document: DesiredState) -> None:
        role, expires = self._client.earliest_expiry()
        now = max(self._clock.now(), document.not_before)
        if now >= expires.timestamp():
            raise MetadataExpired(role=role, expired_at=f"{expires:%Y-%m-%d %H:%M UTC}", now=shown(now))

    def _trust(self) -> str:
        """A digest of the keys that may sign desired states."""
        delegations = self._client.top_level.delegations
        roles = delegations.roles if delegations and delegations.roles else {}
        keys = sorted(roles[DESIRED_ROLE].keyids) if DESIRED_ROLE in roles else []
        return digest("\n".join(keys).encode())

    @contextmanager
    def _translated(self, role: str) -> Iterator[None]:
        try:
            yield
        except EdgeError:
            raise
        except exceptions.ExpiredMetadataError as error:
            found = _ROLE.search(str(error))
            expired = found[1] if found else role
            raise MetadataExpired(
                role=expired, expired_at=self._client.expiry_of(expired), now=shown(self._clock.now())
            ) from error
        except exceptions.DownloadHTTPError as error:
            raise InboxIncomplete(count=1, what="the update", first=str(error)) from error
        except exceptions.BadVersionNumberError as error:
            raise _version_error(error, role) from error
        except (
            exceptions.RepositoryError,
            exceptions.DownloadError,
            DeserializationError,
            LibraryError,
        ) as error:
            raise SignatureInvalid(role=role, reason=str(error) or type(error).__name__) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"it is no metadata ({type(error).__name__}: {error})"
            raise SignatureInvalid(role=role, reason=reason) from error


def _version_error(error: exceptions.BadVersionNumberError, role: str) -> EdgeError:
    text = str(error)
    match = _OLDER.search(text)
    if match is None:
        return SignatureInvalid(role=role, reason=text or "its version is not the one that was announced")
    found, seen = (match["found"], match["seen"]) if match["found"] else (match["found2"], match["seen2"])
    return ReplayRefused(document=f"the signed metadata `{role}`", found=found, seen=seen)


def _decoded(kind: type[Any], data: bytes) -> Any:
    try:
        return decode(kind, data)
    except NameInvalid as error:
        raise DocumentInvalid(document=kind.__name__, reason=str(error)) from error
