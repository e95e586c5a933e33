"""Rollback: what was signed once, and replaced since, is shown again."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from agent.contract.codec import encode
from agent.contract.targets import DESIRED_ROLE
from tests.attacks.stolen import BIN, LEAF_FIRST, Books, write
from tests.attacks.victims import Victim

OLDER = "artifact.replay-refused"
DOUBTED = "artifact.signature-invalid"


def updated_twice(victim: Victim) -> tuple[Books, Books]:
    """A board that took two pushes in which every role changed, and the books of both."""
    books = victim.pushed(2)
    victim.ask(books, 2, *LEAF_FIRST)
    victim.accepted(2)
    first = copy.deepcopy(books)
    victim.ask(books, 3, *LEAF_FIRST)
    victim.accepted(3)
    return first, books


@pytest.mark.parametrize("role", ["timestamp", "snapshot", *LEAF_FIRST])
def test_an_older_file_of_any_role_is_refused_whoever_holds_the_keys_above_it(
    victim: Victim, role: str
) -> None:
    first, books = updated_twice(victim)
    newest = copy.deepcopy(books)
    books.of[role] = first.of[role]
    books.sign_one(role, bump=False)
    if role in LEAF_FIRST:
        books.sign_one("snapshot")
    if role != "timestamp":
        books.sign_one("timestamp")
    books.put(victim.board)
    report = victim.refused(OLDER, really=role == "snapshot")
    assert f"`{books.name(role)}` is older" in str(report.message)
    newest.of["timestamp"].signed.version += 9
    newest.of["snapshot"].signed.version += 9
    victim.ask(newest, 4, *LEAF_FIRST)
    victim.accepted(4)


def test_an_older_push_as_a_whole_is_refused(victim: Victim) -> None:
    first, _ = updated_twice(victim)
    first.put(victim.board)
    victim.refused(OLDER, really=True)


def test_an_older_desired_state_in_newly_signed_metadata_is_refused(victim: Victim) -> None:
    """By its counter: who has the desired key and an old document can sign it into the newest bin."""
    _, books = updated_twice(victim)
    victim.ask(books, 2)
    assert "counter 2, seen 3" in str(victim.refused(OLDER, really=True).message)


def test_another_desired_state_under_the_counter_that_is_known_is_refused(victim: Victim) -> None:
    _, books = updated_twice(victim)
    books.assign(replace(victim.same(3), nonce="f" * 32))
    books.sign(BIN).put(victim.board)
    victim.refused(OLDER)


def test_an_older_root_in_the_place_of_the_next_one_is_refused(victim: Victim) -> None:
    books = victim.pushed(2)
    books.rotate("root")
    victim.ask(books, 2)
    victim.accepted(2)
    for number in (0, 1):
        victim.ask(books, 3)
        write(victim.inbox / "metadata/3.root.json", books.roots[number].to_bytes())
        assert "`root`" in str(victim.refused(DOUBTED).message)
    victim.ask(books, 3)
    victim.accepted(3)


@pytest.mark.parametrize(
    "rotated", [("timestamp",), ("snapshot", "timestamp"), (DESIRED_ROLE,), ("targets",)]
)
def test_nothing_from_before_a_rotation_is_taken_after_it(victim: Victim, rotated: tuple[str, ...]) -> None:
    """Rotation forgets versions that the old key signed; what it signed is not believed any more either."""
    first, books = updated_twice(victim)
    books.rotate(*rotated)
    victim.ask(books, 4)
    victim.accepted(4)
    for older in (first.files(), copy.deepcopy(first).files()):
        for name, data in older.items():
            write(victim.inbox / name, data)
        write(victim.inbox / "request", b"replay")
        victim.refused((OLDER, DOUBTED))
    # and in the newest metadata, signed by every key that was not rotated
    for role in rotated:
        again = copy.deepcopy(books)
        again.keys[role] = first.keys[role]
        victim.ask(again, 5, *LEAF_FIRST)
        victim.refused(DOUBTED)
    assert victim.board.report.counter == 4


def test_after_a_rotation_of_the_desired_key_its_own_older_documents_are_refused(victim: Victim) -> None:
    _, books = updated_twice(victim)
    books.rotate(DESIRED_ROLE)
    victim.ask(books, 2)
    victim.accepted(2)
    victim.ask(books, 5)
    victim.accepted(5)
    victim.ask(books, 4)
    victim.refused(OLDER)
    assert encode(victim.same(5)).count(b'"counter":5') == 1
