"""Several keys of one role, held by different people; keys that are lost, exposed, or near their end."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.contract.errors import (
    KeyUnknown,
    PassphraseWrong,
    SignaturesMissing,
    ThresholdUnreachable,
)
from edge.identity import ROLES, KeyRing, short
from edge.repository import Change, Repository, Trust
from tests.repository.board import Follower
from tests.repository.fleet import PASSPHRASE, Fleet, passphrase
from tests.repository.test_keys import check_all, newest_root, signed_by

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def shared(assigned: Fleet, tmp_path: Path) -> Fleet:
    """Targets is signed by 2 of 3: one key here, one on each of two sticks, each with a passphrase of its own."""
    for number in (1, 2):
        stick = tmp_path / f"stick-{number}"
        stick.mkdir()
        words = {"targets": PASSPHRASE, "root": PASSPHRASE}
        Trust(
            assigned.folder.repository, assigned.keys, words.__getitem__, lambda _, n=number: f"word {n}"
        ).add("targets", stick)
    assigned.trust.change(Change("targets", threshold=2))
    return assigned


def reopened(fleet: Fleet, *folders: Path, words: str) -> Repository:
    return Repository(fleet.folder.repository, KeyRing(fleet.folder.keys, folders), lambda _: words)


def test_two_of_three_keys_of_different_people_publish(
    shared: Fleet, follower: Follower, tmp_path: Path
) -> None:
    check_all(shared, follower, tmp_path)
    sticks = (tmp_path / "stick-1", tmp_path / "stick-2")
    repository = reopened(shared, *sticks, words="word 1\nword 2")
    assert repository.publish("digits", [shared.bundle("two", weights=b"2")]).version == 2
    assert len(signed_by(shared, "targets")) == 2
    repository = reopened(shared, *sticks, words=f"word 1\nword 2\n{PASSPHRASE}")
    assert repository.publish("digits", [shared.bundle("three", weights=b"3")]).version == 3
    assert len(signed_by(shared, "targets")) == 3
    check_all(shared, follower, tmp_path)


def test_one_of_three_is_too_few_and_says_which_are_missing(shared: Fleet, tmp_path: Path) -> None:
    before = (shared.folder.repository / "metadata/timestamp.json").read_bytes()
    here, first, second = (key.keyid for key in shared.trust.states()[1].keys.keys)
    with pytest.raises(SignaturesMissing, match="needs 2 signatures, and 1 of its keys") as error:
        reopened(shared, tmp_path / "stick-1", words="word 1").publish("digits", [shared.bundle("two")])
    assert short(second) in str(error.value)
    assert "`targets`" in str(error.value)
    assert short(first) not in str(error.value)
    assert short(here) not in str(error.value)
    assert (shared.folder.repository / "metadata/timestamp.json").read_bytes() == before


def test_the_files_of_a_key_lie_where_it_was_said(shared: Fleet, tmp_path: Path) -> None:
    names = [path.name for path in sorted((tmp_path / "stick-1").iterdir())]
    assert [name.rpartition(".")[2] for name in names] == ["key", "pub"]
    assert (shared.folder.keys / names[1]).exists()
    assert not (shared.folder.keys / names[0]).exists()
    assert stat.S_IMODE((tmp_path / "stick-1" / names[0]).stat().st_mode) == 0o600


def test_a_key_is_revoked_and_a_lost_one_too(shared: Fleet, follower: Follower, tmp_path: Path) -> None:
    keyid = shared.trust.states()[1].keys.keys[1].keyid
    shutil.rmtree(tmp_path / "stick-1")
    shared.trust.revoke("targets", keyid[:8])
    assert keyid not in {key.keyid for key in shared.trust.states()[1].keys.keys}
    check_all(shared, follower, tmp_path)
    with pytest.raises(ThresholdUnreachable, match="would have 1 of the 2 keys that must sign"):
        shared.trust.revoke("targets", shared.trust.states()[1].keys.keys[0].keyid)


def test_what_could_not_be_signed_any_more_is_refused(shared: Fleet, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "stick-1")
    here = shared.trust.states()[1].keys.keys[0].keyid
    keys = KeyRing(shared.folder.keys, [tmp_path / "stick-2"])
    trust = Trust(shared.folder.repository, keys, lambda _: f"word 2\n{PASSPHRASE}")
    before = (shared.folder.repository / "metadata/timestamp.json").read_bytes()
    with pytest.raises(SignaturesMissing):
        trust.revoke("targets", here)
    assert (shared.folder.repository / "metadata/timestamp.json").read_bytes() == before
    assert (shared.folder.keys / "targets.key").exists()


def test_a_role_keeps_a_key_and_a_threshold(assigned: Fleet) -> None:
    with pytest.raises(ThresholdUnreachable):
        assigned.trust.change(Change("root", threshold=2))
    with pytest.raises(ThresholdUnreachable):
        assigned.trust.change(Change("root", threshold=0))
    with pytest.raises(ThresholdUnreachable):
        assigned.trust.revoke("desired", assigned.keys.public_key("desired").keyid)
    for unknown in ("ffff", ""):
        with pytest.raises(KeyUnknown if unknown else ThresholdUnreachable):
            assigned.trust.revoke("desired", unknown)
    with pytest.raises(KeyUnknown, match="ffff"):
        assigned.trust.rotate("desired", "root", keyids=["ffff"])


def test_a_rotation_of_many_keys_replaces_those_that_are_here(
    shared: Fleet, follower: Follower, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "stick-2")
    before = [key.keyid for key in shared.trust.states()[1].keys.keys]
    shared.trust.rotate("targets")
    after = {key.keyid for key in shared.trust.states()[1].keys.keys}
    assert after & set(before) == {before[2]}
    assert len(list((tmp_path / "stick-1").glob("*.key"))) == 1
    check_all(shared, follower, tmp_path)
    chosen = next(iter(after - set(before)))
    shared.trust.rotate("targets", keyids=[chosen[:8]])
    assert {key.keyid for key in shared.trust.states()[1].keys.keys} >= after - {chosen}


def test_a_lost_targets_key_is_replaced_by_the_root_key(
    assigned: Fleet, follower: Follower, tmp_path: Path
) -> None:
    for role in ("targets", "snapshot", "desired"):
        (assigned.folder.keys / f"{role}.key").unlink()
    keys = KeyRing(assigned.folder.keys)
    Trust(assigned.folder.repository, keys, passphrase).rotate("targets", "snapshot", "desired")
    repository = Repository(assigned.folder.repository, keys, passphrase)
    check_all(replace(assigned, keys=keys, repository=repository), follower, tmp_path)


def test_no_key_is_readable_by_others_with_any_umask(assigned: Fleet) -> None:
    before = os.umask(0)
    try:
        assigned.trust.rotate("root", "timestamp")
        assigned.keys.change_passphrase(assigned.keys.held("root")[0], passphrase, lambda _: "other")
    finally:
        os.umask(before)
    for path in assigned.folder.keys.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert assigned.keys.exposed() == ()
    assigned.folder.keys.chmod(0o755)
    assert assigned.keys.exposed() == (assigned.folder.keys,)


def test_another_passphrase_opens_the_key_and_the_old_one_does_not(assigned: Fleet) -> None:
    keys = KeyRing(assigned.folder.keys)
    keys.change_passphrase(keys.held("targets")[0], passphrase, lambda _: "other word")
    KeyRing(assigned.folder.keys).signer("targets", lambda _: "other word")
    with pytest.raises(PassphraseWrong):
        KeyRing(assigned.folder.keys).signer("targets", passphrase)
    with pytest.raises(PassphraseWrong):
        KeyRing(assigned.folder.keys).change_passphrase(keys.held("targets")[0], passphrase, passphrase)


def test_root_and_targets_are_signed_anew_before_they_expire(
    assigned: Fleet, follower: Follower, tmp_path: Path
) -> None:
    later = datetime.now(UTC) + timedelta(days=2000)
    trust = Trust(assigned.folder.repository, assigned.keys, passphrase, clock=later.timestamp)
    assert {s.keys.role for s in trust.states() if s.due} == {*ROLES}
    trust.renew("root", "targets")
    assert not any(s.due for s in trust.states())
    check_all(assigned, follower, tmp_path)
    assert newest_root(assigned) == 2
