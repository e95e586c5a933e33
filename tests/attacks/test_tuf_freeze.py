"""Indefinite freeze: what was the news once is shown for ever. And clocks, by which that is noticed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from agent.contract.messages import STALE_AFTER_S
from agent.contract.release import TrialTerms
from agent.contract.targets import DESIRED_ROLE
from edge.repository import Repository
from tests.attacks.stolen import BIN, LEAF_FIRST, ROLES, Books
from tests.attacks.victims import Victim
from tests.update.world import wait_until

EXPIRED = "artifact.metadata-expired"
DAY_S = 86_400
YEAR_S = 365 * DAY_S


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_expired_starts_no_update_and_a_fresh_one_does(victim: Victim, role: str) -> None:
    books = victim.pushed(2)
    if role == "root":
        with books.next_root() as root:
            root.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        victim.ask(books, 2)
    else:
        books.expire(role)
        victim.ask(books, 2, *LEAF_FIRST)
    assert f"`{books.name(role)}` expired" in str(victim.refused(EXPIRED, really=role == BIN).message)
    if role == "root":
        with books.next_root() as root:
            root.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    else:
        books.expire(role, days=1)
    victim.ask(books, 3, *LEAF_FIRST)
    victim.accepted(3)


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", DESIRED_ROLE, BIN])
def test_what_had_expired_when_the_desired_state_was_made_is_refused_by_a_board_without_a_clock(
    victim: Victim, role: str
) -> None:
    """Whoever has the desired key alone can't go on with metadata of others that ended."""
    books = victim.pushed(2)
    if role == "root":
        with books.next_root() as root:
            root.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    else:
        books.expire(role, days=1)
    books.assign(victim.same(2, not_before=int(time.time()) + 2 * DAY_S))
    books.sign(*LEAF_FIRST).put(victim.board)
    assert f"`{books.name(role)}` expired" in str(victim.refused(EXPIRED).message)


def push_of(victim: Victim, counter: int, *, after_s: float) -> None:
    """What the laptop would push then, having signed anew what is due."""
    fleet = victim.fleet
    later = Repository(fleet.folder.repository, fleet.keys, None, clock=lambda: time.time() + after_s)
    later.refresh(force=True)
    later.assign(victim.same(counter, not_before=int(time.time() + after_s)))
    victim.board.push(f"after {after_s}")


def test_a_push_that_was_held_back_for_a_year_is_refused_and_a_fresh_one_goes_through(victim: Victim) -> None:
    victim.pushed(2)
    victim.set_clock(1.2 * YEAR_S)
    victim.refused(EXPIRED, really=True)
    push_of(victim, 3, after_s=1.2 * YEAR_S)
    victim.accepted(3, really=True)


# --- clocks ----------------------------------------------------------------------------------------------------


def test_a_board_that_starts_in_1970_takes_what_is_good_and_says_what_it_judged_by(victim: Victim) -> None:
    victim.set_clock(-time.time())
    victim.pushed(2)
    report = victim.accepted(2, really=True)
    assert "1970" in str(report.clock_doubt)
    books = victim.pushed(3)
    books.expire("timestamp")
    victim.ask(books, 3)
    victim.refused(EXPIRED, really=True)


def test_a_clock_years_behind_takes_nothing_that_had_expired_when_it_last_knew_the_time(
    victim: Victim,
) -> None:
    victim.set_clock(-5 * YEAR_S)
    books = victim.pushed(2)
    books.expire("snapshot")
    victim.ask(books, 2)
    victim.refused(EXPIRED)
    push_of(victim, 3, after_s=0)
    assert victim.accepted(3, really=True).clock_doubt


def test_a_clock_years_ahead_refuses_what_is_good_only_until_it_is_right(victim: Victim) -> None:
    victim.set_clock(7 * YEAR_S)
    victim.pushed(2)
    report = victim.refused(EXPIRED, really=True)
    assert f"{datetime.now(UTC) + timedelta(days=7 * 365):%Y-%m-%d}" in str(report.message)
    assert "clock is wrong" in str(report.hint)
    victim.set_clock(0)
    victim.pushed(3)
    report = victim.accepted(3, really=True)
    assert "stood at" in str(report.clock_doubt), "that it was wrong is not forgotten silently"
    assert report.clock_floor < time.time() + DAY_S


def test_a_clock_that_jumps_in_the_middle_of_a_trial_changes_neither_serving_nor_its_end(
    victim: Victim,
) -> None:
    board = victim.board
    victim.set_clock(0)
    board.supervise()
    try:
        wait_until(lambda: board.served().get("generation") == 1, "it serves")
        victim.set_clock(3 * YEAR_S)
        victim.pushed(2)
        assert board.wait_for(request(victim)).code == EXPIRED
        assert board.served()["generation"] == 1
        victim.set_clock(0)
        better = victim.better
        terms = TrialTerms(probation_s=1.5, check_timeout_s=60.0, start_timeout_s=20.0)
        victim.fleet.repository.assign(victim.fleet.desired(3, better, terms=terms))
        board.push("jump")
        wait_until(lambda: board.served().get("generation") == 3, "it is on trial")
        victim.set_clock(-30 * YEAR_S)
        time.sleep(0.5)
        victim.set_clock(40 * YEAR_S)
        report = board.wait_for("jump")
        assert (report.code, report.counter, board.link("current")) == (None, 3, 3)
        assert board.served()["releases"] == [better.title]
    finally:
        board.stop()


def request(victim: Victim) -> str:
    for name in ("request", "request.taken"):
        path = victim.inbox / name
        if path.exists():
            return path.read_text()
    return str(victim.board.report.request)


# --- drop requests ---------------------------------------------------------------------------------------------


def test_a_board_that_nothing_new_reaches_shows_that_it_is_stale(victim: Victim) -> None:
    """Whoever keeps pushes away, or shows old ones again, can't keep that from being seen."""
    victim.pushed(2)
    victim.accepted(2)
    assert "stale" not in victim.board.run("status").stdout
    victim.set_clock(STALE_AFTER_S + DAY_S)
    (victim.inbox / "request").write_text("the same again")
    assert victim.board.apply() == 0
    assert "stale" in victim.board.run("status").stdout, "the same files again are no news"
    push_of(victim, 3, after_s=STALE_AFTER_S + DAY_S)
    victim.accepted(3, really=True)
    assert "stale" not in victim.board.run("status").stdout


def test_books_are_what_the_repository_holds(victim: Victim) -> None:
    """That the attacks of this folder begin with what a push brings, byte for byte."""
    victim.fleet.repository.assign(victim.same(2))
    victim.board.fill_inbox()
    for name, data in Books.of_fleet(victim.fleet, victim.keys).files().items():
        assert (victim.inbox / name).read_bytes() == data, name
