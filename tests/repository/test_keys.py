"""Keys, thresholds and their change, seen by stock python-tuf clients from any root on and by one that follows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from agent.contract.errors import (
    KeyMissing,
    PassphraseWrong,
    RepositoryDamaged,
)
from edge.config import FleetFolder
from edge.identity import ROLES, KeyRing, RoleKeys
from edge.repository import Change, Trust
from edge.repository.roles import Roles
from tests.repository.board import Board, Follower
from tests.repository.fleet import PASSPHRASE, Fleet, passphrase
from tests.repository.test_cut_short import cut

DEVICE = "b-1"


pytestmark = pytest.mark.usefixtures("quick")


def newest_root(fleet: Fleet) -> int:
    return len(list((fleet.folder.repository / "metadata").glob("*.root.json")))


def check_all(fleet: Fleet, follower: Follower, work: Path) -> None:
    """Clients from every root on, the one that follows, and a board that is pushed to see the same."""
    wanted = fleet.repository.desired(DEVICE)
    assert follower.desired(DEVICE) == wanted
    for version in range(1, newest_root(fleet) + 1):
        folder = work / f"from-{version}"
        assert Follower(folder, fleet.folder.repository, version).desired(DEVICE) == wanted
        shutil.rmtree(folder)
    board = Board(work / "board", DEVICE)
    board.receive(fleet.repository.push_set(DEVICE))
    assert board.apply() == wanted


def signed_by(fleet: Fleet, role: str) -> set[str]:
    """Ids of the keys that signed what is there of a role."""
    metadata = fleet.folder.repository / "metadata"
    paths = metadata.glob("timestamp.json" if role == "timestamp" else f"*.{role}.json")
    path = max((p for p in paths if not p.name.startswith("next")), key=lambda p: p.stat().st_mtime_ns)
    return set(Metadata.from_bytes(path.read_bytes()).signatures)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_gets_another_key_and_all_that_it_signed_is_signed_anew(
    assigned: Fleet, follower: Follower, tmp_path: Path, role: str
) -> None:
    old = assigned.keys.public_key(role).keyid
    assigned.trust.rotate(role)
    new = assigned.keys.public_key(role).keyid
    assert new != old
    assert not (assigned.folder.keys / f"{role}.key").exists()
    check_all(assigned, follower, tmp_path)
    for name in [role, *(["desired-bin-0a", "desired-bin-1f"] if role == "desired" else [])]:
        assert new in signed_by(assigned, name)
    if role == "desired":
        assert len(list((assigned.folder.repository / "metadata").glob("2.desired-bin-*.json"))) == 32
    assigned.repository.publish("digits", [assigned.bundle("two", weights=b"two")])
    assigned.repository.assign(assigned.desired(DEVICE, 2))
    check_all(assigned, follower, tmp_path)
    if role != "root":
        assert old not in signed_by(assigned, role)


def test_all_roles_at_once_are_one_new_root(assigned: Fleet, follower: Follower, tmp_path: Path) -> None:
    assigned.trust.rotate(*ROLES)
    assert newest_root(assigned) == 2
    check_all(assigned, follower, tmp_path)
    assert {state.keys.role: len(state.held) for state in assigned.trust.states()} == dict.fromkeys(ROLES, 1)


def test_a_key_that_was_replaced_signs_nothing_more(assigned: Fleet, follower: Follower) -> None:
    stolen = assigned.keys.signer("timestamp")
    assigned.trust.rotate("timestamp")
    path = assigned.folder.repository / "metadata/timestamp.json"
    forged = Metadata[Timestamp].from_bytes(path.read_bytes())
    forged.signed.version += 5
    forged.sign(stolen)
    path.write_bytes(forged.to_bytes())
    with pytest.raises(RepositoryError, match="timestamp was signed by 0/1"):
        follower.desired(DEVICE)
    with pytest.raises(RepositoryDamaged, match="signed by 0/1"):
        assigned.repository.releases()


def test_an_older_repository_of_a_root_key_that_was_replaced_is_refused(
    assigned: Fleet, tmp_path: Path
) -> None:
    shutil.copytree(assigned.folder.repository, tmp_path / "old")
    assigned.trust.rotate("root")
    shutil.rmtree(assigned.folder.repository)
    shutil.copytree(tmp_path / "old", assigned.folder.repository)
    with pytest.raises(RepositoryDamaged, match="this fleet's root key"):
        assigned.repository.releases()


def fast_forward(fleet: Fleet, follower_inbox: Path) -> None:
    """What a thief of the plain keys does: versions that nothing honest will ever reach."""
    metadata = follower_inbox / "metadata"
    snapshot_path = max(metadata.glob("*.snapshot.json"), key=lambda p: int(p.name.partition(".")[0]))
    snapshot = Metadata[Snapshot].from_bytes(snapshot_path.read_bytes())
    snapshot.signed.version = 10**9
    for meta in snapshot.signed.meta.values():
        meta.version = 10**9
    snapshot.sign(fleet.keys.signer("snapshot"))
    (metadata / f"{10**9}.snapshot.json").write_bytes(snapshot.to_bytes())
    timestamp = Metadata[Timestamp].from_bytes((metadata / "timestamp.json").read_bytes())
    timestamp.signed.version = 10**9
    timestamp.signed.snapshot_meta = MetaFile.from_data(10**9, snapshot.to_bytes(), ["sha256"])
    timestamp.sign(fleet.keys.signer("timestamp"))
    (metadata / "timestamp.json").write_bytes(timestamp.to_bytes())


@pytest.mark.parametrize(
    ("rotated", "recovers"),
    [(("desired", "snapshot", "timestamp"), True), (("timestamp",), False), (("snapshot",), False)],
)
def test_a_board_that_was_sent_forged_high_versions_recovers_when_the_stolen_keys_are_replaced(
    assigned: Fleet, tmp_path: Path, rotated: tuple[str, ...], recovers: bool
) -> None:
    board = Board(tmp_path / "board", DEVICE)
    board.receive(assigned.repository.push_set(DEVICE))
    board.apply()
    fast_forward(assigned, board.folder / "inbox")
    with pytest.raises(DownloadHTTPError):  # that board wants 10**9.targets.json now
        board.apply()
    board.receive(assigned.repository.push_set(DEVICE))
    with pytest.raises(RepositoryError):
        board.apply()
    assigned.trust.rotate(*rotated)
    board.receive(assigned.repository.push_set(DEVICE))
    if recovers:
        assert board.apply() == assigned.repository.desired(DEVICE)
    else:
        with pytest.raises(RepositoryError):
            board.apply()


# --- cut short ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "stride", "least_points"),
    [("rotate-root", 2, 8), ("rotate-timestamp", 4, 6), ("rotate-all", 29, 5), ("rotate-lost", 3, 12)],
)
def test_a_change_of_keys_that_is_cut_leaves_the_old_or_the_new(
    assigned: Fleet, follower: Follower, tmp_path: Path, operation: str, stride: int, least_points: int
) -> None:
    folders = cut(assigned, tmp_path / "cut", operation, stride=stride)
    assert len(folders) >= least_points
    for folder in folders:
        own = assigned.moved(FleetFolder.open(folder), folder).with_own_keys()
        if operation != "rotate-lost":  # without the old keys nobody can sign for both sides of the change
            assert Follower(folder / "plain", own.folder.repository).desired(DEVICE).counter == 1
        board = Board(folder / "board", DEVICE)
        board.receive(own.repository.push_set(DEVICE))
        assert board.apply().counter == 1
        fresh = Follower(folder / "fresh", own.folder.repository)
        assert fresh.desired(DEVICE).counter == 1
        assert not own.keys.exposed()
        if (own.folder.keys / "targets.key").exists() or newest_root(own) == 2:
            own.repository.publish("digits", [own.bundle("next", weights=b"next")])
        own.trust.rotate("timestamp", "targets")
        assert fresh.desired(DEVICE).counter == 1
        assert not (own.folder.repository / "metadata/next.root.json").exists()
        shutil.rmtree(folder)


def test_a_wrong_passphrase_for_the_second_key_changes_nothing(assigned: Fleet, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in assigned.folder.path.rglob("*") if path.is_file()}
    keys = KeyRing(assigned.folder.keys)
    words = {"root": PASSPHRASE, "targets": "incorrect horse"}
    trust = Trust(assigned.folder.repository, keys, words.__getitem__)
    with pytest.raises(PassphraseWrong, match="targets"):
        trust.rotate("desired")
    with pytest.raises(KeyMissing, match="new passphrase"):
        Trust(assigned.folder.repository, assigned.keys, passphrase, _interrupted).rotate("root")
    after = {path: path.read_bytes() for path in assigned.folder.path.rglob("*") if path.is_file()}
    after.pop(assigned.folder.repository / ".lock", None)
    before.pop(assigned.folder.repository / ".lock", None)
    assert after == before


def _interrupted(_: str) -> str:
    raise KeyMissing(role="new passphrase")


# --- any sequence ------------------------------------------------------------------------------------------


def _publish(fleet: Fleet, turn: int) -> None:
    fleet.repository.publish("digits", [fleet.bundle(f"bundle-{turn}", weights=str(turn).encode())])


def _assign(fleet: Fleet, turn: int) -> None:
    fleet.repository.assign(fleet.desired(DEVICE, fleet.repository.next_counter(DEVICE)))


def _refresh(fleet: Fleet, turn: int) -> None:
    fleet.repository.refresh(force=True)


def _revoke(role: str) -> Callable[[Fleet, int], None]:
    def act(fleet: Fleet, turn: int) -> None:
        counting = _counting(fleet, role)
        if len(counting.keys) > counting.threshold:
            fleet.trust.revoke(role, counting.keys[turn % len(counting.keys)].keyid)

    return act


def _threshold(role: str) -> Callable[[Fleet, int], None]:
    def act(fleet: Fleet, turn: int) -> None:
        fleet.trust.change(Change(role, threshold=1 + turn % len(_counting(fleet, role).keys)))

    return act


def _counting(fleet: Fleet, role: str) -> RoleKeys:
    return Roles.load(fleet.folder.repository / "metadata", fleet.keys).keys_of(role)


ACTIONS: dict[str, Callable[[Fleet, int], None]] = {
    "publish": _publish,
    "assign": _assign,
    "refresh": _refresh,
    **{f"rotate {role}": lambda fleet, _, role=role: fleet.trust.rotate(role) for role in ROLES},
    **{f"add {role}": lambda fleet, _, role=role: fleet.trust.add(role) for role in ROLES},
    **{f"revoke {role}": _revoke(role) for role in ROLES},
    **{f"threshold {role}": _threshold(role) for role in ROLES},
}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(sorted(ACTIONS)), min_size=4, max_size=7))
def test_whatever_is_done_every_client_goes_on(
    made_once: Fleet, tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any")
    shutil.copytree(made_once.folder.path, path / "fleet")
    fleet = made_once.moved(FleetFolder.open(path / "fleet"), path).with_own_keys()
    fleet.repository.assign(fleet.desired(DEVICE))
    follower = Follower(path / "follower", fleet.folder.repository)
    for turn, name in enumerate(names):
        ACTIONS[name](fleet, turn)
        assert follower.desired(DEVICE) == fleet.repository.desired(DEVICE)
    check_all(fleet, follower, path)
    assert not fleet.keys.exposed()
    shutil.rmtree(path)
