"""An old copy of a repository goes past what boards have seen, and they take what it signs at once."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from tuf.api.exceptions import BadVersionNumberError, DownloadHTTPError, RepositoryError

from agent.contract.errors import PassphraseMissing, RootOther, VersionsAbsurd
from agent.contract.messages import TrustedRole
from agent.update.trusted import trusted_roles
from edge.identity import KeyRing
from edge.repository import Repository
from edge.repository.versions import MOST_AHEAD, Versions
from tests.repository.board import Board
from tests.repository.fleet import Fleet, passphrase


class Copy:
    """A copy of the fleet folder as it was, and the boards that went on without it."""

    def __init__(self, fleet: Fleet, tmp_path: Path) -> None:
        self.fleet = fleet
        self.board = Board(tmp_path / "board", "b-1")
        fleet.repository.assign(fleet.desired("b-1"))
        self.push(fleet.repository)
        self.folder = tmp_path / "old"
        self.timestamp = self.folder / "metadata/timestamp.json"
        shutil.copytree(fleet.folder.repository, self.folder, symlinks=True)
        self.repository = Repository(self.folder, fleet.keys, passphrase)
        self.versions = Versions(self.folder, fleet.keys, passphrase)

    def push(self, repository: Repository) -> None:
        self.board.receive(repository.push_set("b-1"))
        self.board.apply()

    def lost_updates(self) -> None:
        """What the lost folder did after the copy: two releases, and assignments to boards of other bins."""
        for number in (2, 3):
            release = self.fleet.repository.publish("digits", [self.fleet.bundle(f"lost-{number}")])
            self.fleet.repository.assign(
                self.fleet.desired("b-1", number, release),
                *(self.fleet.desired(f"b-{n}", number) for n in (5, 6, 7)),
            )
        self.push(self.fleet.repository)

    @property
    def trust(self) -> tuple[TrustedRole, ...]:
        return trusted_roles(self.board.folder / "cache")

    def update(self, counter: int) -> None:
        self.repository.assign(self.fleet.desired("b-1", counter))
        self.push(self.repository)


@pytest.fixture
def copy(fleet: Fleet, tmp_path: Path) -> Copy:
    return Copy(fleet, tmp_path)


def test_after_two_lost_updates_the_next_one_goes_through_at_once(copy: Copy) -> None:
    copy.lost_updates()
    with pytest.raises(RepositoryError):
        copy.update(4)
    ahead = copy.versions.ahead(copy.trust)
    assert {"timestamp", "snapshot", "targets"} <= ahead.keys()
    copy.versions.check(copy.trust, device="pi")
    copy.versions.go_past(ahead)
    assert copy.versions.ahead(copy.trust) == {}
    copy.update(5)
    assert copy.board.apply().counter == 5


def test_bins_that_the_board_does_not_report_are_gone_past_too(copy: Copy) -> None:
    """A board compares every bin that its snapshot named, not its own alone."""
    for counter in (1, 2, 3):
        copy.fleet.repository.assign(*(copy.fleet.desired(f"b-{n}", counter) for n in range(5, 30)))
    copy.push(copy.fleet.repository)
    for counter in (2, 3, 4, 5):
        copy.repository.assign(copy.fleet.desired("b-1", counter))
    copy.repository.publish("digits", [copy.fleet.bundle("own")])
    assert copy.versions.ahead(copy.trust) == {}, "nothing that it reports is newer"
    with pytest.raises(BadVersionNumberError):
        copy.update(6)
    copy.versions.go_past({})
    copy.update(7)


def test_a_push_that_was_cut_after_its_snapshot_is_gone_past(copy: Copy) -> None:
    """The board saw that there is a newer `targets`, and has never seen it."""
    copy.fleet.repository.publish("digits", [copy.fleet.bundle("lost")])
    copy.board.receive(copy.fleet.repository.push_set("b-1"))
    for path in (copy.board.folder / "inbox/metadata").glob("*.targets.json"):
        path.unlink()
    with pytest.raises(DownloadHTTPError):
        copy.board.apply()
    assert (copy.board.folder / "cache/snapshot.json").exists()
    ahead = copy.versions.ahead(copy.trust)
    assert "targets" in ahead
    copy.versions.go_past(ahead)
    copy.update(2)


def test_no_passphrase_is_needed_where_nothing_was_published(copy: Copy) -> None:
    for counter in (2, 3):
        copy.fleet.repository.assign(copy.fleet.desired("b-1", counter))
    copy.push(copy.fleet.repository)
    silent = Versions(copy.folder, KeyRing(copy.fleet.folder.keys), lambda _: "")
    ahead = silent.ahead(copy.trust)
    assert "targets" not in ahead
    silent.go_past(ahead)
    copy.update(4)


def test_other_documents_of_the_same_number_are_seen(copy: Copy) -> None:
    ends = {one.role: one for one in copy.trust}
    same = ends["timestamp"]
    assert copy.versions.ahead([same]) == {}
    other = TrustedRole(role="timestamp", version=same.version, expires=same.expires - 1)
    assert copy.versions.ahead([other]) == {"timestamp": same.version}


def test_a_board_that_says_anything_drags_nobody_along(copy: Copy) -> None:
    own = json.loads(copy.timestamp.read_bytes())["signed"]["version"]
    for version in (own + MOST_AHEAD + 1, 2**63):
        absurd = TrustedRole(role="timestamp", version=version, expires=0)
        with pytest.raises(VersionsAbsurd, match=f"seen timestamp {version}"):
            copy.versions.check([absurd], device="hostile")
        copy.versions.check([absurd], device="hostile", most=None)
    assert copy.versions.ahead([TrustedRole(role="desired-zz", version=9, expires=0)]) == {}
    assert copy.versions.ahead([TrustedRole(role="../../x", version=9, expires=0)]) == {}


def test_keys_that_were_changed_after_the_copy_are_named(copy: Copy) -> None:
    own = copy.fleet.with_own_keys()
    own.trust.rotate("timestamp")
    copy.push(own.repository)
    with pytest.raises(RootOther, match="root 2, here 1"):
        copy.versions.check(copy.trust, device="pi")


def test_keys_that_were_changed_on_both_sides_are_other_keys(copy: Copy) -> None:
    """Restored and rotated again: both have a root 2, and the board's does not lead to this folder's."""
    (root,) = (one for one in copy.trust if one.role == "root")
    copy.versions.check([root], device="pi")
    other = TrustedRole(role="root", version=root.version, expires=root.expires - 1)
    with pytest.raises(RootOther, match="root 1, here 1"):
        copy.versions.check([other], device="pi")


def test_a_passphrase_that_is_not_given_signs_nothing(copy: Copy) -> None:
    copy.lost_updates()
    before = copy.timestamp.read_bytes()
    closed = Versions(copy.folder, KeyRing(copy.fleet.folder.keys), lambda _: "")
    with pytest.raises(PassphraseMissing):
        closed.go_past(closed.ahead(copy.trust))
    assert copy.timestamp.read_bytes() == before


def test_expiry_is_renewed_by_it(copy: Copy) -> None:
    copy.versions.go_past({})
    now = datetime.now().astimezone()
    assert all((end - now).days >= 360 for end in copy.repository.expiry().values())
