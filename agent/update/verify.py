"""What a push brought, verified by TUF: only what comes out of here may be staged.

The rule: a desired state counts only when the role `desired` and none above it names it; bundles, runtimes and releases
count only when the top-level `targets` names them. python-tuf decides about signatures, versions, expiry and lengths;
this module gives it the inbox, the board's clock and durable writes, and turns every error of it into one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import Error as LibraryError
from tuf.api import exceptions
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp
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
from agent.contract.wording import shown
from agent.update.clock import Clock
from agent.update.files import Files, chunks_of
from agent.update.folder import TUF_ROOTS
from agent.update.inbox import METADATA, TARGETS, Inbox

MAX_MANIFEST_BYTES = MAX_DOCUMENT_BYTES
MAX_METADATA_BYTES = UpdaterConfig().targets_max_length
_OLDER = (
    re.compile(r"New (?P<role>\S+) version (?P<found>\d+) must be >= (?P<seen>\d+)"),
    re.compile(r"New (?P<role>\S+) version must be >= (?P<seen>\d+), got version (?P<found>\d+)"),
    re.compile(r"Expected (?P<role>\S+)\.json version (?P<found>\d+), got (?P<seen>\d+)"),
)
"""How python-tuf says that a version went backwards."""
_EXPIRED = re.compile(r"([A-Za-z0-9_-]+)(?:\.json)? is expired")
_FILE = re.compile(r"(?:[0-9]+\.)?(?P<role>[a-z0-9-]+)\.json\Z")


class InboxFetcher(FetcherInterface):
    """python-tuf's network: the inbox. A file that is not there is its 404.

    Attributes:
        last: what was asked for last: where something is wrong, it is wrong there. data: what it held.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.last = ""
        self.data = b""

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """A whole file. No honest one is longer than `MAX_METADATA_BYTES`, whatever length was signed for: the keys
        that sign lengths may be stolen. It is kept in memory; python-tuf's own way fills a temporary file."""
        limit = min(max_length, MAX_METADATA_BYTES)
        self.last, self.data = url, b""
        data = bytearray()
        for chunk in self.fetch(url):
            data += chunk
            if len(data) > limit:
                raise exceptions.DownloadLengthMismatchError(
                    f"`{url}` is longer than the {limit} bytes that it may have"
                )
        self.data = bytes(data)
        return self.data

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._inbox.open(*url.split("/")) as descriptor:
                yield from chunks_of(descriptor)
        except FileNotFoundError as error:
            raise exceptions.DownloadHTTPError(url, 404) from error


class BoardUpdater(Updater):
    """python-tuf's client with the board's clock and durable writes. The private names that it touches are pinned by a
    test."""

    def __init__(self, *, folder: Path, inbox: Inbox, bootstrap: bytes, clock: Clock, files: Files) -> None:
        self._files = files
        self._clock = clock
        self._inbox = inbox
        self.fetcher = InboxFetcher(inbox)
        super().__init__(
            str(folder),
            METADATA,
            None,
            TARGETS,
            fetcher=self.fetcher,
            config=UpdaterConfig(),
            bootstrap=bootstrap,
        )
        self._trusted_set.reference_time = self.clock.as_datetime()

    def _persist_file(self, filename: str, data: bytes) -> None:
        path = Path(filename)
        if not (path.is_file() and path.read_bytes() == data):
            self._files.replace(path, data, mode=0o600)

    def _update_root_symlink(self) -> None:
        link = Path(self._dir, "root.json")
        target = f"{TUF_ROOTS}/{self._trusted_set.root.version}.root.json"
        if not (link.is_symlink() and str(link.readlink()) == target):
            self._files.replace_link(link, target)

    def _load_root(self) -> None:
        """As python-tuf does it. A next root that is none is taken out of the inbox: no later push writes another one
        over it, and each would be refused for it."""
        try:
            super()._load_root()
        except (EdgeError, exceptions.RepositoryError, exceptions.DownloadError):
            with suppress(OSError):  # a folder, say: the sentence names the file
                self._inbox.discard(METADATA, f"{self._trusted_set.root.version + 1}.root.json")
            raise
        self._trusted_set.reference_time = self.clock.as_datetime()

    @property
    def clock(self) -> Clock:
        """The board's clock under the root that is verified."""
        root = self._trusted_set.root
        return self._clock.under(f"{root.version} {' '.join(sorted(root.roles[Root.type].keyids))}")

    def _load_timestamp(self) -> None:
        """As python-tuf does it; but it keeps the one that it knows where both have the same version, without a word,
        and nothing newer would be seen. Two that differ were signed by two who have the key.

        Raises:
            ReplayRefused: the one in the inbox is another one of the same version.
        """
        super()._load_timestamp()
        if self.fetcher.data != self._load_local_metadata(Timestamp.type):
            version = self._trusted_set.timestamp.version
            raise ReplayRefused(document="the signed metadata `timestamp`", found=version, seen=version)

    @property
    def top_level(self) -> Targets:
        """The role `targets`, verified."""
        return self._trusted_set.targets

    @property
    def timestamp_version(self) -> int:
        """Version of the verified timestamp."""
        return self._trusted_set.timestamp.version

    def earliest_expiry(self, path: str) -> tuple[str, datetime]:
        """Which of the verified roles that lead to the desired state at `path` expires first, and when."""
        names = [Root.type, Timestamp.type, Snapshot.type, Targets.type, DESIRED_ROLE]
        desired = self._trusted_set.get(DESIRED_ROLE)
        if isinstance(desired, Targets) and desired.delegations and desired.delegations.succinct_roles:
            names.append(desired.delegations.succinct_roles.get_role_for_target(path))
        found = [(name, self._trusted_set[name].expires) for name in names if name in self._trusted_set]
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
        if target.length > MAX_MANIFEST_BYTES:
            raise DocumentInvalid(document=target.path, reason=f"it is {target.length} bytes long")
        prefix = next(iter(target.hashes.values()))
        folder, _, name = target.path.rpartition("/")
        data = self.fetcher.download_bytes(f"{TARGETS}/{folder}/{prefix}.{name}", target.length)
        target.verify_length_and_hashes(data)
        return data


@dataclass(frozen=True)
class Verified:
    """A desired state that may be acted on, and the bytes that it came as.

    Attributes:
        trust: which keys signed it, as a digest. versions: how it was verified, in words.
        timestamp: version of the timestamp that leads to it.
        clock: the board's, with what it says of the time.
    """

    desired: DesiredState
    digest: str
    trust: str
    versions: str
    timestamp: int
    clock: Clock


class Verifier:
    """One look at the inbox."""

    def __init__(self, *, folder: Path, inbox: Inbox, bootstrap: bytes, clock: Clock, files: Files) -> None:
        """Read what is trusted already. Nothing of the inbox is read yet.

        Raises:
            StateDamaged: the root that the board was enrolled with can't be read.
        """
        self._updater: BoardUpdater | None = None
        try:
            files.make_folder(folder / TUF_ROOTS, mode=0o700)
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
        self._check_time(document, path)
        return Verified(
            desired=document,
            digest=digest(data),
            trust=self._trust(),
            versions=self._client.versions(),
            timestamp=self._client.timestamp_version,
            clock=self._client.clock.raised(document.not_before),
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
            data = self._client.read(target)
        if expected is not None and digest(data) != expected:
            raise DigestMismatch(file=path, expected=expected, found=digest(data))
        return data

    def _check_time(self, document: DesiredState, path: str) -> None:
        """What had expired when the desired state was made was not all the news there was."""
        role, expires = self._client.earliest_expiry(path)
        now = max(self._client.clock.now(), document.not_before)
        if now >= expires.timestamp():
            raise MetadataExpired(role=role, expired_at=f"{expires:%Y-%m-%d %H:%M UTC}", now=shown(now))

    def _trust(self) -> str:
        """A digest of the keys that may sign desired states; the library lets names pass that are no text."""
        delegations = self._client.top_level.delegations
        roles = delegations.roles if delegations and delegations.roles else {}
        keys = roles[DESIRED_ROLE].keyids if DESIRED_ROLE in roles else []
        if not all(isinstance(key, str) for key in keys):
            raise SignatureInvalid(role="targets", reason=f"it names a key of `{DESIRED_ROLE}` not by a text")
        return digest("\n".join(sorted(keys)).encode())

    def _wrong(self, role: str) -> str:
        """The role whose file was read last; `role` where none was."""
        folder, _, name = self._client.fetcher.last.partition("/")
        found = _FILE.match(name) if folder == METADATA else None
        return found["role"] if found else role

    @contextmanager
    def _translated(self, role: str) -> Iterator[None]:
        self._client.fetcher.last = ""
        try:
            yield
        except EdgeError:
            raise
        except exceptions.ExpiredMetadataError as error:
            found = _EXPIRED.search(str(error))
            expired = found[1] if found else role
            raise MetadataExpired(
                role=expired, expired_at=self._client.expiry_of(expired), now=shown(self._client.clock.now())
            ) from error
        except exceptions.DownloadHTTPError as error:
            raise InboxIncomplete(count=1, what="the update", first=str(error)) from error
        except exceptions.BadVersionNumberError as error:
            raise _version_error(error, self._wrong(role)) from error
        except (
            exceptions.RepositoryError,
            exceptions.DownloadError,
            DeserializationError,
            LibraryError,
        ) as error:
            reason = str(error) or type(error).__name__
            raise SignatureInvalid(role=self._wrong(role), reason=reason) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"it is no metadata ({type(error).__name__}: {error})"
            raise SignatureInvalid(role=self._wrong(role), reason=reason) from error


def _version_error(error: exceptions.BadVersionNumberError, role: str) -> EdgeError:
    text = str(error)
    for pattern in _OLDER:
        if match := pattern.search(text):
            document = f"the signed metadata `{match['role']}`"
            return ReplayRefused(document=document, found=match["found"], seen=match["seen"])
    return SignatureInvalid(role=role, reason=text or "its version is not the one that was announced")


def _decoded(kind: type[Any], data: bytes) -> Any:
    try:
        return decode(kind, data)
    except NameInvalid as error:
        raise DocumentInvalid(document=kind.__name__, reason=str(error)) from error
