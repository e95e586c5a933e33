"""Other keys, or another threshold, for roles: all of it in one change of the repository.

The rule: old or new, never a mix. The next root is signed by the old and the new keys and announced first; then what
the changed roles signed is signed anew, by the new keys and by those of the old ones that can be opened, so that it
verifies under either root; the next root comes into force last. Where an old key is lost, `timestamp.json` is the
moment of change, and whoever writes next brings the announced root into force (`Roles.settle`).

python-tuf's client drops what it stored of timestamp and snapshot when it does not verify under a new root: so who
forged high versions with stolen keys is undone by replacing `timestamp` and `snapshot` (which names the versions of all
others) together with what he stole. Versions of this repository go on growing.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root

from agent.contract.targets import DESIRED_ROLE
from edge.identity import RoleKeys
from edge.repository.roles import TOP_LEVEL, Roles, Sign, name_keys, sign_anew


def rekey(roles: Roles, wanted: Collection[RoleKeys], sign: Sign, sign_former: Sign, now: datetime) -> None:
    """Give roles the keys and thresholds that are `wanted`; keys that stay are a new signature with a new expiry.

    Args:
        roles: settled, by the one who holds the folder.
        wanted: one entry a role.
        sign: gives at least as many signers as the threshold says, or raises.
        sign_former: gives those of the former keys that can be opened; none is well.
        now: the time that expiry is counted from.

    Raises:
        what `sign` raises; nothing was written then.
    """
    former = {keys.role: roles.keys_of(keys.role) for keys in wanted}
    changed = _signed_anew(roles, former)
    root = _next_root(roles, wanted, sign, now)
    touched = {*changed, *roles.due(now), "snapshot", "timestamp"} - {"root", "targets"}
    after = {keys.role: keys for keys in map(roles.keys_of, touched | ({"targets"} & changed))}
    after.update({keys.role: keys for keys in wanted})
    signers = {role: _both(keys, former, sign, sign_former) for role, keys in after.items()}
    if root is not None:
        roles.announce(root)
    if DESIRED_ROLE in former:
        roles.delegate(after[DESIRED_ROLE])
    if set(former) != {"root"}:
        roles.commit(changed, lambda keys: signers[keys.role], now)
    roles.settle()


def _signed_anew(roles: Roles, former: Mapping[str, RoleKeys]) -> set[str]:
    """The roles of targets that the change touches."""
    bins = roles.load_bins()
    changed = {"targets"} & set(former)
    if DESIRED_ROLE in former:
        changed |= {"targets", DESIRED_ROLE, *bins}
    return changed


def _next_root(
    roles: Roles, wanted: Collection[RoleKeys], sign: Sign, now: datetime
) -> Metadata[Root] | None:
    """The root that names the wanted keys, signed by the former and the new keys of root; None where it stays."""
    named = [keys for keys in wanted if keys.role in TOP_LEVEL]
    if not named:
        return None
    root = copy.deepcopy(roles.root)
    for keys in named:
        name_keys(root.signed, keys)
    own = next((keys for keys in named if keys.role == "root"), roles.keys_of("root"))
    sign_anew(root, "root", _once(sign(roles.keys_of("root")), sign(own)), now)
    return root


def _both(
    keys: RoleKeys, former: Mapping[str, RoleKeys], sign: Sign, sign_former: Sign
) -> tuple[Signer, ...]:
    """Who signs for a role now. For desired states no former keys: `targets`, which names theirs, changes with them."""
    both_sides = keys.role in former and keys.role in TOP_LEVEL
    return _once(sign(keys), sign_former(former[keys.role]) if both_sides else ())


def _once(*signers: Sequence[Signer]) -> tuple[Signer, ...]:
    """All signers, each key's once."""
    return tuple({each.public_key.keyid: each for some in signers for each in some}.values())
