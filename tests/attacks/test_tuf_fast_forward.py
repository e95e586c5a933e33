"""Fast-forward: somebody with stolen keys raises versions so high that honest news look old; and the way back."""

from __future__ import annotations

import copy
import time
from datetime import UTC, datetime, timedelta

import pytest

from agent.contract.release import TrialTerms
from agent.contract.targets import DESIRED_ROLE
from tests.attacks.stolen import BIN, LEAF_FIRST, Books
from tests.attacks.victims import Victim
from tests.update.world import wait_until

OLDER = "artifact.replay-refused"
FAR = (2**31 - 1, 2**63)
YEAR_S = 365 * 86_400


def raised(books: Books, role: str, version: int) -> None:
    """Sign a role with a version far ahead, and what names it."""
    books.signed(role).version = version
    if role == "timestamp":
        books.sign_one(role, bump=False)
        return
    books.sign_one(role, bump=False)
    if role != "snapshot":
        books.sign_one("snapshot")
    books.sign_one("timestamp")


def lead(books: Books) -> None:
    """More was signed since: so many news that their number alone is newer than the attacker's."""
    for role in ("snapshot", "timestamp"):
        books.signed(role).version += 9


@pytest.mark.parametrize(
    ("role", "version"),
    [*((role, FAR[1]) for role in ("timestamp", "snapshot", *LEAF_FIRST)), ("snapshot", FAR[0])],
)
def test_a_version_far_ahead_ends_with_the_keys_that_signed_it(
    victim: Victim, role: str, version: int
) -> None:
    """For a role below snapshot, that one is rotated too: it vouched for the version."""
    honest = victim.pushed(2)
    attacker = copy.deepcopy(honest)
    raised(attacker, role, version)
    attacker.put(victim.board)
    victim.accepted(2)

    lead(honest)
    victim.ask(honest, 3, *LEAF_FIRST)
    assert str(version) in str(victim.refused(OLDER).message)

    honest.rotate(*dict.fromkeys((DESIRED_ROLE if role == BIN else role, "snapshot", "timestamp")))
    victim.ask(honest, 4)
    victim.accepted(4, really=role == "snapshot" and version == FAR[0])

    attacker.roots = honest.roots
    attacker.put(victim.board)
    victim.refused("artifact.signature-invalid")


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_rotation_of_the_one_key_that_was_stolen_is_enough(victim: Victim, role: str) -> None:
    honest = victim.pushed(2)
    attacker = copy.deepcopy(honest)
    raised(attacker, role, FAR[1])
    if role == "snapshot":  # with an honest timestamp: the attacker waits until one is signed for his
        attacker.sign_one("timestamp", bump=False)
    attacker.put(victim.board)
    victim.accepted(2)
    honest.rotate(role, *(["timestamp"] if role == "snapshot" else []))
    victim.ask(honest, 3)
    victim.accepted(3)


@pytest.mark.parametrize("role", LEAF_FIRST)
def test_a_version_that_is_announced_far_ahead_and_never_comes_ends_with_the_same_keys(
    victim: Victim, role: str
) -> None:
    """Snapshot and timestamp can say what they like about roles whose keys were not stolen."""
    honest = victim.pushed(2)
    attacker = copy.deepcopy(honest)
    attacker.signed("snapshot").meta[f"{attacker.name(role)}.json"].version = FAR[1]
    attacker.signed("snapshot").meta[f"{attacker.name(role)}.json"].hashes = None
    attacker.sign_one("snapshot")
    attacker.sign_one("timestamp")
    attacker.put(victim.board)
    victim.refused("update.inbox-incomplete")
    victim.ask(honest, 3, *LEAF_FIRST)
    victim.refused(OLDER)
    honest.rotate("snapshot", "timestamp")
    victim.ask(honest, 3)
    victim.accepted(3)


def test_a_role_that_a_stolen_snapshot_key_invented_ends_with_that_key(victim: Victim) -> None:
    honest = victim.pushed(2)
    attacker = copy.deepcopy(honest)
    attacker.signed("snapshot").meta["never.json"] = copy.deepcopy(
        attacker.signed("snapshot").meta["targets.json"]
    )
    attacker.sign_one("snapshot")
    attacker.sign_one("timestamp")
    attacker.put(victim.board)
    victim.accepted(2)
    lead(honest)
    victim.ask(honest, 3)
    assert "never.json" in str(victim.refused("artifact.signature-invalid").message)
    honest.rotate("snapshot", "timestamp")
    victim.ask(honest, 3)
    victim.accepted(3)


@pytest.mark.parametrize("counter", [2**31 - 1, 2**53 - 1])
def test_a_counter_far_ahead_ends_with_the_desired_key(victim: Victim, counter: int) -> None:
    books = victim.pushed(2)
    victim.ask(books, counter)
    victim.accepted(counter)
    victim.ask(books, 3)
    assert f"seen {counter}" in str(victim.refused(OLDER).message)
    books.rotate(DESIRED_ROLE)
    victim.ask(books, 3)
    victim.accepted(3, really=True)
    victim.ask(books, 2)
    victim.refused(OLDER)


def test_a_counter_that_no_reader_keeps_exactly_is_refused(victim: Victim) -> None:
    """2^53 and above: JavaScript, SQLite and others would round it, or fall over it."""
    for number, counter in enumerate((2**53, 2**63, 10**300)):
        books = victim.pushed(2 + number)
        state = victim.same(2 + number)
        books.assign(state)
        (path, data) = next((path, data) for path, data in books.documents.items() if "desired/" in path)
        del books.documents[path]
        forged = data.replace(f'"counter":{2 + number}'.encode(), f'"counter":{counter}'.encode())
        forged = forged.replace(f'"number":{2 + number}'.encode(), f'"number":{counter}'.encode())
        books.target(BIN, f"desired/{state.device}.json", forged)
        books.sign(BIN).put(victim.board, request=str(number))
        victim.refused("document.invalid", really=number == 2)


def test_a_clock_floor_far_ahead_ends_with_the_desired_key(victim: Victim) -> None:
    """Stolen: desired, snapshot, timestamp. They say that years have passed: honest metadata look expired."""
    honest = victim.pushed(2)
    attacker = copy.deepcopy(honest)
    far = datetime.now(UTC).replace(microsecond=0) + timedelta(days=4 * 365)
    for role in ("timestamp", "snapshot", DESIRED_ROLE, BIN):
        attacker.signed(role).expires = far
    attacker.assign(victim.same(2, not_before=int(time.time()) + 3 * YEAR_S))
    attacker.sign(BIN, DESIRED_ROLE).put(victim.board)
    victim.accepted(2)
    lead(honest)
    victim.ask(honest, 3, *LEAF_FIRST)
    victim.refused("artifact.metadata-expired")
    honest.rotate(DESIRED_ROLE, "snapshot", "timestamp")
    victim.ask(honest, 3)
    report = victim.accepted(3, really=True)
    assert report.clock_floor < time.time() + YEAR_S


def test_a_counter_far_ahead_whose_trial_goes_on_ends_with_the_desired_key_too(victim: Victim) -> None:
    """A rotation that arrives in the middle of the attacker's trial is not lost."""
    victim.board.supervise()
    try:
        books = victim.pushed(2)
        release = victim.better
        terms = TrialTerms(probation_s=2.0, check_timeout_s=60.0, start_timeout_s=20.0, max_attempts=3)
        victim.fleet.repository.assign(victim.fleet.desired(2**31 - 1, release, terms=terms))
        victim.board.push("attack")
        wait_until(lambda: victim.board.report.in_progress, "a trial")
        books = Books.of_fleet(victim.fleet, victim.keys)
        books.rotate(DESIRED_ROLE)
        books.assign(victim.same(3))
        books.sign(BIN).put(victim.board, request="rotated")
        report = victim.board.wait_for("rotated")
        assert (report.counter, report.code) == (3, None), report.message
    finally:
        victim.board.stop()
