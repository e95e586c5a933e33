"""Arbitrary installation: a bundle, a runtime or a desired state that those who may sign for it did not sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.contract.codec import digest, encode
from agent.contract.release import Generation, GenerationModel
from agent.contract.targets import DESIRED_ROLE, bundle_target, desired_target, runtime_target
from tests.attacks.stolen import BIN, LEAF_FIRST, Books, stranger
from tests.attacks.victims import Victim
from tests.update.bundles import make_bundle
from tests.update.world import DEVICE

SIGNED = ("timestamp", "snapshot", "targets", DESIRED_ROLE, BIN)
DOUBTED = "artifact.signature-invalid"


def unsigned(books: Books, role: str) -> None:
    books.sign_one(role, signers=[], bump=False)


def signed_by_a_stranger(books: Books, role: str) -> None:
    books.sign_one(role, signers=[stranger()], bump=False)


def signed_by_another_role(books: Books, role: str) -> None:
    other = "snapshot" if role in (DESIRED_ROLE, BIN) else DESIRED_ROLE
    books.sign_one(role, signers=books.signers(other), bump=False)


def signed_in_anothers_name(books: Books, role: str) -> None:
    """A stranger's signature under the id of the key that should have signed."""
    (true,) = books.signers(role)
    books.sign_one(role, signers=[false := stranger()], bump=False)
    metadata = books.of[role]
    (signature,) = metadata.signatures.values()
    assert signature.keyid == false.public_key.keyid
    signature.keyid = true.public_key.keyid
    metadata.signatures = {signature.keyid: signature}


@pytest.mark.parametrize(
    "how", [unsigned, signed_by_a_stranger, signed_by_another_role, signed_in_anothers_name]
)
def test_metadata_that_its_own_key_did_not_sign_is_refused(
    victim: Victim, how: Callable[[Books, str], None]
) -> None:
    for counter, role in enumerate(SIGNED, 2):
        books = victim.pushed(counter)
        how(books, role)
        if role in (BIN, DESIRED_ROLE, "targets"):
            books.sign_one("snapshot", bump=False)
        if role != "timestamp":
            books.sign_one("timestamp", bump=False)
        books.put(victim.board, request=f"attack {counter}")
        report = victim.refused(DOUBTED, really=role == BIN and how is signed_by_another_role)
        assert f"`{books.name(role)}`" in str(report.message)
    victim.pushed(9)
    victim.accepted(9)


def test_a_root_of_somebody_else_is_refused_and_the_next_push_goes_through(victim: Victim) -> None:
    books = victim.pushed(2)
    books.keys["root"] = [stranger()]
    with books.next_root() as root:
        for keyid in list(root.roles["root"].keyids):
            root.revoke_key(keyid, "root")
        root.add_key(books.keys["root"][0].public_key, "root")
    books.put(victim.board)
    assert "`root`" in str(victim.refused(DOUBTED, really=True).message)
    victim.pushed(3)
    victim.accepted(3)


@pytest.mark.parametrize("where", [*SIGNED, "desired state", "root"])
def test_a_flipped_byte_is_refused_wherever_it_is(victim: Victim, where: str) -> None:
    """Blobs and manifests: tests/update/test_hostile_inbox.py."""
    books = victim.pushed(2)
    with books.next_root():
        pass
    books.sign(*LEAF_FIRST).put(victim.board)
    names = {"desired state": f"{DEVICE}.json", "timestamp": "timestamp.json", "root": "2.root.json"}
    wanted = names.get(
        where, f"{books.signed(where).version}.{books.name(where)}.json" if where in SIGNED else ""
    )
    (name,) = [str(path.relative_to(victim.inbox)) for path in victim.inbox.rglob(f"*{wanted}")]
    data = (victim.inbox / name).read_bytes()
    for position in range(7, len(data), max(1, len(data) // 8)):
        books.put(victim.board, request=f"byte {position}")
        (victim.inbox / name).write_bytes(
            data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        )
        victim.refused(DOUBTED)
    books.put(victim.board)
    (victim.inbox / name).write_bytes(data)
    victim.accepted(2)


def test_a_bundle_that_was_never_published_is_refused_even_with_the_keys_that_are_not_encrypted(
    victim: Victim,
) -> None:
    books = victim.pushed(2)
    forged = make_bundle(victim.fleet.work / "forged", behaviour="good but never published")
    for entry in forged.manifest.files:
        (victim.inbox / "blobs" / entry.sha256).write_bytes((forged.folder / entry.path).read_bytes())
    model = GenerationModel("digits", victim.release.title, forged.digest)
    for counter, role in enumerate((BIN, DESIRED_ROLE), 2):
        books.target(role, bundle_target(forged.digest), forged.manifest_bytes)
        state = replace(victim.same(counter), generation=Generation(counter, victim.fleet.runtime, (model,)))
        books.assign(state)
        books.sign(BIN, DESIRED_ROLE).put(victim.board, request=role)
        assert victim.release.title in str(
            victim.refused("artifact.release-mixed", really=role == BIN).message
        )


def test_a_runtime_that_was_never_published_is_refused_even_with_the_keys_that_are_not_encrypted(
    victim: Victim,
) -> None:
    books = victim.pushed(2)
    runtime, data = victim.fleet.blobs.runtime(victim.fleet.agent)
    for counter, role in enumerate((BIN, DESIRED_ROLE), 2):
        books.target(role, runtime_target(runtime), data)
        books.assign(victim.same(counter, generation=Generation(counter, runtime, ())))
        books.sign(BIN, DESIRED_ROLE).put(victim.board, request=role)
        assert "runtimes/" in str(victim.refused(DOUBTED, really=role == BIN).message)


def test_a_manifest_of_other_bytes_under_a_published_name_is_refused(victim: Victim) -> None:
    """Whoever has the key of `targets` too can publish; not even he can put two things under one digest."""
    books = victim.pushed(2)
    forged = make_bundle(victim.fleet.work / "forged", behaviour="good but another")
    (bundle,) = victim.release.bundles.values()
    books.target("targets", bundle_target(bundle), forged.manifest_bytes)
    books.assign(
        victim.same(
            2, generation=Generation(2, other_runtime(victim, books), victim.same(2).generation.models)
        )
    )
    books.sign(BIN, "targets").put(victim.board)
    victim.refused("artifact.digest-mismatch", really=True)


def other_runtime(victim: Victim, books: Books) -> str:
    """A runtime of the same layers under another digest, published: so that bundles are looked at anew."""
    runtime, data = victim.fleet.blobs.runtime(
        victim.fleet.agent, victim.fleet.packages, agent_version="0.1.9"
    )
    books.target("targets", runtime_target(runtime), data)
    return runtime


def test_a_desired_state_that_the_targets_key_names_itself_is_refused(victim: Victim) -> None:
    """Each role speaks for its own alone: also those above."""
    books = victim.pushed(2)
    books.target("targets", desired_target(DEVICE), encode(victim.same(2)))
    books.sign("targets").put(victim.board)
    assert "which only `desired` may" in str(victim.refused(DOUBTED, really=True).message)


def test_the_desired_state_that_is_signed_for_is_the_one_that_is_read(victim: Victim) -> None:
    """Another desired state of this board, rightly made and signed for later, in the place of this one."""
    books = victim.pushed(2)
    (place,) = (victim.inbox / "targets/desired").iterdir()
    place.write_bytes(encode(victim.same(3)))
    assert digest(place.read_bytes()) not in place.name
    books.put(victim.board)
    victim.refused(DOUBTED, really=True)
