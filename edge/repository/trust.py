"""Who signs for what: looked at, and changed.

The rule: all passphrases are asked for before anything is written; a new key is in its file before the signed metadata
name it, and a key that they name no more is removed from its file after that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import Signer

from agent.contract.errors import EdgeError, KeyUnknown, ThresholdUnreachable
from edge.config import lock
from edge.identity import ROLES, Draft, HeldKey, KeyRing, Passphrase, RoleKeys, short
from edge.repository.rekeying import rekey
from edge.repository.roles import Roles, key_role, lifetime


@dataclass(frozen=True)
class RoleState:
    """How a role stands.

    Attributes:
        keys: whose signatures count. held: what is here of keys for it, those that count no more too.
        expires: when its signature ends; of desired states the first of all bins.
        due: less than half of its time is left.
    """

    keys: RoleKeys
    held: tuple[HeldKey, ...]
    expires: datetime
    due: bool


@dataclass(frozen=True)
class Change:
    """What becomes of a role's keys.

    Attributes:
        role: whose. make: one folder for each new key, None for `keys/`. drop: ids of keys that count no more.
        threshold: how many must sign from now on, or None: as before.
    """

    role: str
    make: tuple[Path | None, ...] = ()
    drop: frozenset[str] = frozenset()
    threshold: int | None = None


class Trust:
    """The keys and thresholds of a fleet's repository."""

    def __init__(
        self,
        folder: Path,
        keys: KeyRing,
        passphrase: Passphrase | None = None,
        new_passphrase: Passphrase | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`passphrase` opens keys that are there, `new_passphrase` (the same unless given) encrypts new ones."""
        self._folder = folder
        self._keys = keys
        self._passphrase = passphrase or _no_passphrase
        self._new_passphrase = new_passphrase or self._passphrase
        self._clock = clock

    def states(self) -> tuple[RoleState, ...]:
        """How every role stands, root first.

        Raises:
            RepositoryMissing, RepositoryDamaged, KeyMissing, KeyUnreadable: it can't be told.
        """
        roles, now = self._load(), self._now()
        expiry = roles.expiry()
        found = []
        for role in ROLES:
            expires = min(end for name, end in expiry.items() if key_role(name) == role)
            due = expires - now < lifetime(role) / 2
            found.append(RoleState(roles.keys_of(role), self._keys.held(role), expires, due))
        return tuple(found)

    def rotate(self, *roles: str, keyids: Collection[str] = ()) -> None:
        """Replace keys of `roles` by new ones, each where the old one lies.

        Args:
            roles: names of roles.
            keyids: beginnings of ids: the keys to replace. For a role of which none is given, those whose private
                halves are here, or all where none is: they are lost.

        Raises:
            KeyUnknown: one of `keyids` is of none of these roles.
            those of `change`.
        """
        loaded = self._load()
        named = [keyid for role in roles for keyid in _beginning(loaded.keys_of(role), keyids)]
        for given in keyids:
            if not any(keyid.startswith(given) for keyid in named):
                raise _unknown(given, [loaded.keys_of(role) for role in roles])
        self.change(*(self._replacement(loaded.keys_of(role), named) for role in roles))

    def add(self, role: str, folder: Path | None = None) -> str:
        """Make a further key for `role`, its private half in `folder`; returns its id. Raises as `change`."""
        return self.change(Change(role, make=(folder,)))[0]

    def revoke(self, role: str, keyid: str) -> None:
        """Let a key, given by the beginning of its id, sign for `role` no more, and remove its files.

        Raises:
            KeyUnknown: there is none, or there are several that begin so.
            those of `change`.
        """
        counting = self._load().keys_of(role)
        found = _beginning(counting, [keyid])
        if len(found) == 1:
            self.change(Change(role, drop=frozenset(found)))
            return
        left = {each.key.keyid for each in self._keys.held(role)} - {key.keyid for key in counting.keys}
        unnamed = [each for each in left if each.startswith(keyid)]
        if found or len(unnamed) != 1:
            raise _unknown(keyid, [counting])
        self._keys.remove(role, unnamed[0])

    def renew(self, *roles: str) -> None:
        """Sign `roles` anew with the same keys, and a new expiry. Raises as `change`."""
        self.change(*(Change(role) for role in roles))

    def change(self, *changes: Change) -> tuple[str, ...]:
        """Carry out changes of roles' keys, all at once; returns the ids of new keys.

        Raises:
            ThresholdUnreachable: a role would have fewer keys than must sign, or none must.
            SignaturesMissing, KeyMissing, KeyUnreadable, PassphraseMissing, PassphraseWrong: what must be signed can't.
            FleetFolderBusy: someone else is writing.
        """
        roles = self._load()
        for change in changes:
            _check(change, roles.keys_of(change.role))
        self._open_all(roles, changes)
        made = [
            (change.role, folder, self._keys.draft(change.role, self._new_passphrase))
            for change in changes
            for folder in change.make
        ]
        drafts = [draft for _, _, draft in made]
        with lock(self._folder):
            roles = self._load()
            roles.settle()
            wanted = [_wanted(change, roles.keys_of(change.role), drafts) for change in changes]
            for _, folder, draft in made:
                self._keys.keep(draft, folder)
            try:
                rekey(roles, wanted, self._sign, self._sign_former, self._now())
            except EdgeError:  # nothing was signed: the new keys are for nothing
                for draft in drafts:
                    self._keys.remove(draft.role, draft.key.keyid)
                raise
        for change in changes:
            for keyid in change.drop:
                self._keys.remove(change.role, keyid)
        return tuple(draft.key.keyid for draft in drafts)

    def _open_all(self, roles: Roles, changes: Sequence[Change]) -> None:
        """Ask for the passphrases of all keys that are there already and will sign; they stay open."""
        touched = {change.role for change in changes}
        if touched - {"desired"}:
            self._sign(roles.keys_of("root"))
        if "desired" in touched and "targets" not in touched:
            self._sign(roles.keys_of("targets"))
        for role in touched:
            self._sign_former(roles.keys_of(role))

    def _replacement(self, counting: RoleKeys, named: Collection[str]) -> Change:
        here = {
            each.key.keyid: each.private.parent
            for each in self._keys.held(counting.role)
            if each.private is not None
        }
        every = [key.keyid for key in counting.keys]
        chosen = [keyid for keyid in every if keyid in named] or [keyid for keyid in every if keyid in here]
        drop = chosen or every
        return Change(counting.role, make=tuple(here.get(keyid) for keyid in drop), drop=frozenset(drop))

    def _load(self) -> Roles:
        return Roles.load(self._folder / "metadata", self._keys)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _sign(self, keys: RoleKeys) -> Sequence[Signer]:
        return self._keys.signers(keys, self._passphrase)

    def _sign_former(self, keys: RoleKeys) -> Sequence[Signer]:
        return self._keys.signers(replace(keys, threshold=0), self._passphrase)


def _no_passphrase(_: str) -> str:
    return ""


def _wanted(change: Change, counting: RoleKeys, drafts: Collection[Draft]) -> RoleKeys:
    kept = [key for key in counting.keys if key.keyid not in change.drop]
    new = [draft.key for draft in drafts if draft.role == change.role]
    return RoleKeys(
        change.role, (*kept, *new), counting.threshold if change.threshold is None else change.threshold
    )


def _check(change: Change, counting: RoleKeys) -> None:
    have = len(counting.keys) - len(change.drop) + len(change.make)
    need = counting.threshold if change.threshold is None else change.threshold
    if not 1 <= need <= have:
        raise ThresholdUnreachable(role=change.role, have=have, need=need)


def _beginning(keys: RoleKeys, beginnings: Collection[str]) -> list[str]:
    return [key.keyid for key in keys.keys if any(key.keyid.startswith(text) for text in beginnings)]


def _unknown(keyid: str, roles: Collection[RoleKeys]) -> KeyUnknown:
    known = ", ".join(short(key.keyid) for keys in roles for key in keys.keys)
    return KeyUnknown(role=" or ".join(keys.role for keys in roles), keyid=keyid, known=known)
