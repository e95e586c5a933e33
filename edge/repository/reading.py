"""Signed metadata, read with suspicion.

The rule: what is read is verified from the fleet's first root down, by the keys that the one above names, so that
nothing that someone else put into the folder is ever signed anew. A next root that is announced counts only when all
that the repository holds verifies under it: then a change of keys was cut short after it had taken place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import RepositoryError as TufRepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from agent.contract.errors import RepositoryDamaged

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
NEXT_ROOT = "next.root.json"
"""A root that is signed and announced, and comes into force under its number when all else is signed for it."""


def root_chain(folder: Path) -> Metadata[Root]:
    """The newest root in force, each verified by the one before it.

    Raises:
        RepositoryDamaged: there is none, or one of them is not signed as it must be.
    """
    root: Metadata[Root] | None = None
    version = 1
    while (path := folder / f"{version}.root.json").exists():
        root = _successor(path, root, version)
        version += 1
    if root is None:
        raise RepositoryDamaged(path=folder / "1.root.json", reason="it is not there")
    return root


def announced_root(folder: Path, newest: Metadata[Root]) -> Metadata[Root] | None:
    """The root that is to follow `newest`, if one is announced and signed as it must be."""
    try:
        return _successor(folder / NEXT_ROOT, newest, newest.signed.version + 1)
    except RepositoryDamaged:
        return None


def check_anchor(folder: Path, root: Metadata[Root], keyids: Collection[str]) -> None:
    """That a root is this fleet's: one of its keys is in the fleet's `keys/`.

    Raises:
        RepositoryDamaged: it is another's, or an older one, of keys that were replaced.
    """
    if not set(keyids) & set(root.signed.roles["root"].keyids):
        raise RepositoryDamaged(path=folder, reason="its root is not signed by this fleet's root key")


def read(
    kind: type[S], path: Path, delegator: Root | Targets, role: str, meta: MetaFile | None = None
) -> Metadata[S]:
    """One role's metadata, as its delegator and the one that names its version want it.

    Raises:
        RepositoryDamaged: it is not there, or something else.
    """
    with suspicion(path):
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


def _successor(path: Path, before: Metadata[Root] | None, version: int) -> Metadata[Root]:
    with suspicion(path):
        found = Metadata[Root].from_bytes(path.read_bytes())
        if not isinstance(found.signed, Root):
            raise RepositoryDamaged(path=path, reason="it is no `root`")
        if found.signed.version != version:
            raise RepositoryDamaged(path=path, reason=f"it calls itself version {found.signed.version}")
        for delegator in [before, found]:
            if delegator:
                delegator.signed.verify_delegate("root", found.signed_bytes, found.signatures)
        return found


@contextmanager
def suspicion(path: Path) -> Iterator[None]:
    """Turn what a library says about a file into RepositoryDamaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise RepositoryDamaged(path=path, reason="it is not there") from error
    except (TufRepositoryError, DeserializationError, ValueError, OSError) as error:
        raise RepositoryDamaged(path=path, reason=str(error) or type(error).__name__) from error
