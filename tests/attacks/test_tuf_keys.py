"""Key compromise: too few keys change nothing; enough of them do, until the role is given others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
from securesystemslib.signer import CryptoSigner

from agent.contract.targets import DESIRED_ROLE
from edge.identity import ENCRYPTED, PLAIN
from edge.repository.trust import Trust
from tests.attacks.stolen import BIN, LEAF_FIRST, Books, keys_of, stranger
from tests.attacks.victims import Victim
from tests.update.world import passphrase

DOUBTED = "artifact.signature-invalid"


def two_of_three(victim: Victim, role: str) -> tuple[Books, CryptoSigner]:
    """A board that knows three keys of a role, of which two must sign; and the one key from before."""
    books = victim.pushed(2)
    (before,) = books.keys[role]
    books.rotate(role, count=3, threshold=2)
    victim.ask(books, 2)
    victim.accepted(2)
    return books, before


def signed_by(books: Books, role: str, signers: list[CryptoSigner]) -> Books:
    """The next version of a role, signed by these alone."""
    found = copy.deepcopy(books)
    if role == "root":
        with found.next_root():
            pass
        found.roots[-1].signatures.clear()
        for signer in signers:
            found.roots[-1].sign(signer, append=True)
        return found
    found.sign_one(role, signers=signers)
    if role != "snapshot":
        found.sign_one("snapshot")
    found.sign_one("timestamp")
    return found


def twice(books: Books, role: str) -> None:
    """Let the one signature of a role stand there twice, and once more in capitals."""
    metadata = books.roots[-1] if role == "root" else books.of[role]
    document = json.loads(metadata.to_bytes())
    (only,) = document["signatures"]
    document["signatures"] = [only, only, {**only, "sig": only["sig"].upper()}]
    books.unlike[role] = json.dumps(document).encode()


def under_another_id(books: Books, role: str, ids: list[str]) -> None:
    """Let the one signature of a role stand under the ids of all its keys."""
    metadata = books.roots[-1] if role == "root" else books.of[role]
    document = json.loads(metadata.to_bytes())
    (only,) = document["signatures"]
    document["signatures"] = [{**only, "keyid": keyid} for keyid in ids]
    books.unlike[role] = json.dumps(document).encode()


@pytest.mark.parametrize("role", ["root", "targets", DESIRED_ROLE])
def test_one_key_of_two_that_are_needed_changes_nothing(victim: Victim, role: str) -> None:
    books, before = two_of_three(victim, role)
    first, second, _ = books.keys[role]
    attacks: list[tuple[list[CryptoSigner], Callable[[Books], None]]] = [
        ([], lambda _: None),
        ([first], lambda _: None),
        ([first, before], lambda _: None),
        ([first, stranger()], lambda _: None),
        ([first], lambda found: twice(found, role)),
        (
            [first],
            lambda found: under_another_id(found, role, [key.public_key.keyid for key in books.keys[role]]),
        ),
    ]
    for number, (signers, change) in enumerate(attacks):
        found = signed_by(books, role, signers)
        change(found)
        if role in found.unlike:
            found.vouch(role)
        found.put(victim.board, request=f"{role} {number}")
        report = victim.refused(DOUBTED, really=number == 1)
        assert f"`{role}`" in str(report.message)
        for above in ("snapshot", "timestamp"):  # they were signed with keys that were not stolen for this
            books.signed(above).version += 1
    books.sign(*LEAF_FIRST)
    enough = signed_by(books, role, [first, second])
    enough.put(victim.board)
    victim.accepted(2)


@pytest.mark.parametrize("role", ["root", "targets", DESIRED_ROLE, "snapshot", "timestamp"])
def test_enough_keys_rule_until_they_are_rotated_and_nothing_of_theirs_counts_afterwards(
    victim: Victim, role: str
) -> None:
    books = victim.pushed(2)
    stolen = copy.deepcopy(books)
    stolen.sign(*LEAF_FIRST)
    stolen.assign(victim.same(2))
    victim.ask(stolen, 3)
    victim.accepted(3)  # the attacker is believed: he has the keys

    books.signed("snapshot").version += 5
    books.signed("timestamp").version += 5
    books.rotate(role)
    victim.ask(books, 4, *LEAF_FIRST)
    victim.accepted(4, really=role == "targets")

    attacker = copy.deepcopy(books)
    attacker.keys[role] = stolen.keys[role]
    attacker.assign(victim.same(5))
    if role == "root":
        attacker.roots[-1].signatures.clear()
        attacker.keys["timestamp"] = [stranger()]
        with attacker.next_root() as root:
            for keyid in list(root.roles["timestamp"].keyids):
                root.revoke_key(keyid, "timestamp")
            root.add_key(attacker.keys["timestamp"][0].public_key, "timestamp")
        attacker.roots[-2] = books.roots[-1]
    attacker.sign(*LEAF_FIRST).put(victim.board)
    assert f"`{attacker.name(BIN) if role == DESIRED_ROLE else role}`" in str(
        victim.refused(DOUBTED, really=role == "root").message
    ).replace(f"`{DESIRED_ROLE}`", f"`{attacker.name(BIN)}`")

    for each in books.of:
        books.signed(each).version += 5
    victim.ask(books, 6, *LEAF_FIRST)
    victim.accepted(6)


def test_who_has_the_root_keys_has_the_board_until_it_is_enrolled_anew(victim: Victim) -> None:
    """Stated, not defended: at the threshold of root nothing helps but `--reset-trust` over SSH."""
    books = victim.pushed(2)
    with books.next_root() as root:
        for role in ("root", "timestamp", "snapshot", "targets"):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            books.keys[role] = [stranger()]
            root.add_key(books.keys[role][0].public_key, role)
    books.roots[-1].sign(victim.keys["root"], append=True)
    victim.ask(books, 2, *LEAF_FIRST)
    victim.accepted(2)


def test_a_board_that_slept_through_many_rotations_of_root_catches_up_with_one_push(victim: Victim) -> None:
    books = victim.pushed(2)
    for _ in range(40):
        with books.next_root() as root:
            for keyid in list(root.roles["root"].keyids):
                root.revoke_key(keyid, "root")
            books.keys["root"] = [stranger()]
            root.add_key(books.keys["root"][0].public_key, "root")
    victim.ask(books, 2)
    report = victim.accepted(2, really=True)
    assert next(role.version for role in report.trust if role.role == "root") == 41


def test_a_chain_of_roots_with_a_link_missing_is_refused(victim: Victim) -> None:
    """The newest root alone is believed by nobody, since it is signed by keys that the board never heard of."""
    books = victim.pushed(2)
    books.rotate("root", "timestamp")
    books.rotate("root", "timestamp")
    victim.ask(books, 2)
    (victim.inbox / "metadata/2.root.json").unlink()
    victim.refused(DOUBTED)
    victim.ask(books, 2)
    victim.accepted(2)


def test_what_edge_rotates_reaches_a_board_that_knew_the_first_root_and_the_old_keys_count_no_more(
    victim: Victim,
) -> None:
    """With edge's own rotation, all roles at once; what was stolen before is `victim.keys`."""
    fleet = victim.fleet
    Trust(fleet.folder.repository, fleet.keys, passphrase).rotate(*ENCRYPTED, *PLAIN)
    victim.fleet.repository.assign(victim.same(2))
    victim.board.push()
    victim.accepted(2, really=True)
    for number, role in enumerate((*PLAIN, "targets")):
        attacker = Books.of_fleet(fleet, keys_of(fleet) | {role: victim.keys[role]})
        attacker.assign(victim.same(3 + number))
        for each in attacker.of:
            attacker.signed(each).version += number
        attacker.sign(*LEAF_FIRST).put(victim.board, request=f"old {role}")
        victim.refused(DOUBTED)
