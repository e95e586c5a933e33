"""Contact and time as the real update process keeps them, in this process: nothing gets as far as a trial."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agent.update import commands
from edge.repository import Repository, Trust
from tests.update.world import DEVICE, Board, Fleet, Quiet, passphrase

YEAR_S = 365 * 86_400
ELSEWHERE = "another-profile"
VERIFIED = "artifact.wrong-board"
"""What a release for another kind of board is refused for, after all of it was verified."""


pytestmark = pytest.mark.usefixtures("simulated")


def apply(board: Board) -> str | None:
    """Code of what is verified and then refused for its board, or of what was wrong before."""
    commands.apply(board.root, service=Quiet())
    return board.report.code


def at(fleet: Fleet, clock: Callable[[], float]) -> Repository:
    """The repository of a laptop whose clock shows `clock()`."""
    return Repository(fleet.folder.repository, fleet.keys, passphrase, clock=clock)


def timestamp(board: Board) -> int:
    return next(role.version for role in board.report.trust if role.role == "timestamp")


def test_only_what_is_newly_signed_is_a_contact(bare: Board) -> None:
    """Whoever shows the same files again, and every start of the board, ends no staleness."""
    bare.assign(1, bare.fleet.publish("good", profile=ELSEWHERE))
    bare.push()
    assert apply(bare) == VERIFIED
    first, version = bare.report.contact, timestamp(bare)
    assert first is not None
    time.sleep(1.1)
    bare.push()
    apply(bare)
    assert (bare.report.contact, timestamp(bare)) == (first, version)
    bare.fleet.repository.refresh(force=True)
    bare.push()
    apply(bare)
    again = bare.report.contact
    assert again is not None
    assert again > first
    assert timestamp(bare) == version + 1
    assert bare.report.stale(again + 31 * 86_400)


def test_what_a_laptop_with_a_wrong_clock_signed_is_let_go_of_by_a_new_root(bare: Board) -> None:
    def ahead() -> float:
        return time.time() + 4 * YEAR_S

    fleet = bare.fleet
    release = fleet.publish("good", profile=ELSEWHERE)
    at(fleet, ahead).assign(fleet.desired(1, release, not_before=int(ahead())))
    bare.push()
    assert apply(bare) == VERIFIED, "it was verified: nothing says yet that this time is wrong"
    assert bare.report.clock_floor > time.time() + 3 * YEAR_S
    assert "signed at" in str(bare.report.clock_doubt)
    at(fleet, time.time).refresh(force=True)
    fleet.repository.assign(fleet.desired(2, release))
    bare.push()
    refused = apply(bare)
    assert refused == "artifact.metadata-expired"
    assert str(bare.report.message).count("UTC") == 2, "both times are said"
    Trust(fleet.folder.repository, fleet.keys, passphrase).renew("root", "desired", "snapshot", "timestamp")
    bare.push()
    assert apply(bare) == VERIFIED
    assert bare.report.clock_floor <= time.time()
    assert bare.report.clock_doubt is None


def test_a_report_names_every_role_that_was_verified(bare: Board) -> None:
    bare.assign(1, bare.fleet.publish("good", profile=ELSEWHERE))
    bare.push()
    apply(bare)
    roles = [role.role for role in bare.report.trust]
    bins = [path.stem for path in (bare.root / "state/tuf").glob("desired-*.json")]
    assert roles == ["root", "timestamp", "snapshot", "targets", "desired", *bins]
    assert len(bins) == 1
    shown = bare.fleet.repository.versions(DEVICE)
    assert {role.role: role.version for role in bare.report.trust} == shown
