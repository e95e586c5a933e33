"""The private keys that can be reached from here, found by what the signed metadata calls them.

The rule: which keys a role has, and how many of them must sign, is said by the signed root and targets, never by what
files there are. A file is found by the id of its key; where it lies, and what it is called, means nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import (
    EdgeError,
    KeyMissing,
    KeysExist,
    KeyUnreadable,
    PassphraseMissing,
    PassphraseWrong,
    SignaturesMissing,
)
from edge import durable
from edge.identity import keyfile, ssh_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner, Key

Passphrase = Callable[[str], str]
"""From a key's name (`root`, or `root-1a2b3c4d` where it is one of several) to its passphrase; it may ask a person.
Of an answer of several lines each line is one, and each key is opened by that which fits. Empty: it is not known."""

ENCRYPTED = ("root", "targets")
PLAIN = ("desired", "snapshot", "timestamp")
ROLES = (*ENCRYPTED, *PLAIN)
SHORT_ID = 8
"""Digits of a key's id that people see, and that are in its file's name."""


def short(keyid: str) -> str:
    """A key's id as people see it."""
    return keyid[:SHORT_ID]


@dataclass(frozen=True)
class RoleKeys:
    """Whose signatures count for a role.

    Attributes:
        role: its name.
        keys: public halves.
        threshold: how many of them must sign; 0 where all is well with none.
    """

    role: str
    keys: tuple[Key, ...]
    threshold: int = 1


@dataclass(frozen=True)
class HeldKey:
    """What is here of one key.

    Attributes:
        role: what it was made for. key: its public half.
        private: the file of its private half, or None: that lies elsewhere.
    """

    role: str
    key: Key
    private: Path | None


@dataclass(frozen=True)
class Draft:
    """A new key that is in no file yet."""

    role: str
    private: Ed25519PrivateKey
    word: bytes | None

    @property
    def key(self) -> Key:
        """Its public half."""
        return keyfile.public_half(self.private)


class KeyRing:
    """The folder `keys/`, and further folders that hold private keys: a stick, or another person's folder.

    An encrypted key stays open in this object once it was opened, so a passphrase is asked for once.
    """

    def __init__(self, path: Path, folders: Sequence[Path] = ()) -> None:
        self._path = path
        self._folders = [path, *folders]
        self._open: dict[str, Ed25519PrivateKey] = {}
        self._words: list[bytes] = []

    def create(self, passphrase: Passphrase) -> None:
        """Make all keys. `root` is written last, so that what was interrupted counts as not made.

        Raises:
            KeysExist: there are keys already; they are never overwritten.
            PassphraseMissing: `passphrase` answers nothing.
        """
        if self.complete:
            raise KeysExist(path=self._path)
        drafts = [self.draft(role, passphrase) for role in ROLES]
        durable.make_folder(self._path, mode=0o700)
        durable.write(self._path / ".gitignore", b"*\n")
        for draft in reversed(drafts):
            self._write(self._path / draft.role, draft)

    @property
    def complete(self) -> bool:
        """Whether `create` was here."""
        return (self._path / "root.key").exists() or any(self._path.glob("root-*.pub"))

    # --- what is here ----------------------------------------------------------------------------------------

    def held(self, role: str) -> tuple[HeldKey, ...]:
        """What is here of keys that were made for `role`, by the order of folders and names.

        Raises:
            KeyUnreadable: a public half is damaged.
        """
        found: dict[str, HeldKey] = {}
        for folder in self._folders:
            for path in sorted((*folder.glob(f"{role}.pub"), *folder.glob(f"{role}-*.pub"))):
                key = keyfile.read_public(path, role)
                private = path.with_suffix(".key")
                known = found.get(key.keyid, HeldKey(role, key, None))
                if known.private is None:
                    found[key.keyid] = HeldKey(role, key, private if private.exists() else None)
        return tuple(found.values())

    def public_key(self, role: str) -> Key:
        """The public half of the first key for `role`.

        Raises:
            KeyMissing: there is none.
            KeyUnreadable: its file is damaged.
        """
        held = self.held(role)
        if not held:
            raise KeyMissing(role=role)
        return held[0].key

    def exposed(self) -> tuple[Path, ...]:
        """Private keys, and the folder `keys/` itself, that others than their owner may read or write."""
        private = [path for folder in self._folders for path in sorted(folder.glob("*.key"))]
        private += [self._path / ssh_key.CURRENT, self._path / ssh_key.FORMER, self._path]
        return tuple(path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077)

    # --- signing ---------------------------------------------------------------------------------------------

    def signer(self, role: str, passphrase: Passphrase | None = None) -> CryptoSigner:
        """What signs for `role` with the first key that was made for it. Raises as `signers`."""
        return self.signers(RoleKeys(role, (self.public_key(role),)), passphrase)[0]

    def signers(self, wanted: RoleKeys, passphrase: Passphrase | None = None) -> tuple[CryptoSigner, ...]:
        """What signs for a role: all of its keys that can be opened.

        Args:
            wanted: whose signatures count.
            passphrase: asked for each encrypted key that no passphrase opened which is known already.

        Raises:
            KeyMissing: the role's only key is not here.
            KeyUnreadable: its file is damaged.
            PassphraseMissing: it is encrypted and no passphrase was given.
            PassphraseWrong: the passphrase does not open it.
            SignaturesMissing: the role has several keys, and too few of them could be opened.
        """
        from securesystemslib.signer import CryptoSigner

        held = {each.key.keyid: each for each in self.held(wanted.role)} if wanted.keys else {}
        opened: list[CryptoSigner] = []
        closed: dict[str, EdgeError] = {}
        for key in wanted.keys:
            try:
                opened.append(CryptoSigner(self._private(key, held.get(key.keyid), passphrase)))
            except KeyMissing:
                name = wanted.role if len(wanted.keys) == 1 else f"{wanted.role}-{short(key.keyid)}"
                closed[key.keyid] = KeyMissing(role=name)
            except (KeyUnreadable, PassphraseMissing, PassphraseWrong) as error:
                closed[key.keyid] = error
        if len(opened) < wanted.threshold:
            reasons = list(closed.values())
            if len(wanted.keys) == 1:
                raise reasons[0]
            raise SignaturesMissing(
                role=wanted.role,
                have=len(opened),
                need=wanted.threshold,
                missing="; ".join(str(reason) for reason in reasons),
            ) from reasons[0]
        return tuple(opened)

    # --- changes ---------------------------------------------------------------------------------------------

    def draft(self, role: str, passphrase: Passphrase) -> Draft:
        """A new key for `role`, in memory alone; encrypted where keys of that role are.

        Raises:
            PassphraseMissing: `passphrase` answers nothing.
        """
        return Draft(role, keyfile.new_key(), _new_word(role, passphrase) if role in ENCRYPTED else None)

    def keep(self, draft: Draft, folder: Path | None = None) -> None:
        """Write a new key: both halves into `folder` (`keys/` unless said), the public one into `keys/` too."""
        name = f"{draft.role}-{short(draft.key.keyid)}"
        keyfile.write_public(self._path / f"{name}.pub", draft.private)
        if folder is not None and folder not in self._folders:
            self._folders.append(folder)
        self._write((folder or self._path) / name, draft)

    def remove(self, role: str, keyid: str) -> tuple[Path, ...]:
        """Remove all files of a key that are within reach, and forget it; returns them."""
        self._open.pop(keyid, None)
        removed = []
        for folder in self._folders:
            for public in (*folder.glob(f"{role}.pub"), *folder.glob(f"{role}-*.pub")):
                if keyfile.read_public(public, role).keyid == keyid:
                    removed += [path for path in (public.with_suffix(".key"), public) if path.exists()]
        for path in removed:
            path.unlink()
            durable.flush_folder(path.parent)
        return tuple(removed)

    def change_passphrase(self, held: HeldKey, old: Passphrase, new: Passphrase) -> None:
        """Encrypt a key's file with another passphrase. Cut short, it leaves the file as it was.

        Raises:
            KeyMissing, KeyUnreadable, PassphraseMissing, PassphraseWrong: it can't be opened.
            PassphraseMissing: `new` answers nothing.
        """
        key = self._private(held.key, held, old)
        assert held.private is not None
        keyfile.write_private(held.private, key, _new_word(held.private.stem, new))

    # --- inside ----------------------------------------------------------------------------------------------

    def _write(self, stem: Path, draft: Draft) -> None:
        keyfile.write_public(stem.with_name(f"{stem.name}.pub"), draft.private)
        keyfile.write_private(stem.with_name(f"{stem.name}.key"), draft.private, draft.word)
        self._open[draft.key.keyid] = draft.private

    def _private(self, key: Key, held: HeldKey | None, passphrase: Passphrase | None) -> Ed25519PrivateKey:
        if key.keyid not in self._open:
            if held is None or held.private is None:
                raise KeyMissing(role=short(key.keyid))
            self._open[key.keyid] = self._unlocked(held.private, passphrase)
            if keyfile.public_half(self._open[key.keyid]).keyid != key.keyid:
                del self._open[key.keyid]
                raise KeyUnreadable(
                    path=held.private, reason="it is not the key of the `.pub` file beside it"
                )
        return self._open[key.keyid]

    def _unlocked(self, path: Path, passphrase: Passphrase | None) -> Ed25519PrivateKey:
        """A private key, by a passphrase that opened another one, else by one that is asked for."""
        if not keyfile.is_encrypted(path):
            return keyfile.read_private(path, None)
        for word in self._words:
            try:
                return keyfile.read_private(path, word)
            except PassphraseWrong:
                continue
        given = passphrase(path.stem) if passphrase else ""
        if not given:
            raise PassphraseMissing(role=path.stem)
        for word in dict.fromkeys(text.encode() for text in (given, *given.split("\n")) if text):
            try:
                key = keyfile.read_private(path, word)
            except PassphraseWrong:
                continue
            self._words.append(word)
            return key
        raise PassphraseWrong(role=path.stem)


def _new_word(name: str, passphrase: Passphrase) -> bytes:
    given = passphrase(name)
    if not given:
        raise PassphraseMissing(role=name)
    return given.encode()
