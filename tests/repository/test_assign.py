from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.codec import digest
from agent.contract.errors import AssignRefused, BlobMissing, NothingAssigned, RepositoryDamaged
from agent.contract.release import DesiredState, GenerationModel
from edge.identity import KeyRing
from edge.repository import Repository
from tests.repository.board import Board
from tests.repository.fleet import Fleet

DAY_S = 86400.0


def test_a_board_without_a_desired_state_has_none(fleet: Fleet) -> None:
    assert fleet.repository.desired("b-1") is None
    assert fleet.repository.next_counter("b-1") == 1
    with pytest.raises(NothingAssigned):
        fleet.repository.push_set("b-1")


def test_the_counter_only_grows(fleet: Fleet) -> None:
    fleet.repository.assign(fleet.desired("b-1", 5))
    for counter in (1, 4, 5):
        with pytest.raises(AssignRefused, match="counter 5"):
            fleet.repository.assign(fleet.desired("b-1", counter))
    assert fleet.repository.next_counter("b-1") == 6
    assert fleet.repository.next_counter("b-1", seen=9) == 10
    assert fleet.repository.next_counter("b-1", seen=2**53 - 1) == 6, (
        "a stolen key went to the end of the range"
    )


def test_assigning_needs_no_passphrase(fleet: Fleet) -> None:
    Repository.open(fleet.folder.repository, KeyRing(fleet.folder.keys)).assign(fleet.desired("b-1"))


def test_one_bad_state_among_many_changes_nothing(fleet: Fleet) -> None:
    with pytest.raises(AssignRefused):
        fleet.repository.assign(fleet.desired("b-1"), replace(fleet.desired("b-2"), nonce=""))
    with pytest.raises(AssignRefused, match="twice"):
        fleet.repository.assign(fleet.desired("b-1", 1), fleet.desired("b-1", 2))
    assert fleet.repository.desired("b-1") is None


def test_what_the_repository_could_not_send_is_refused(fleet: Fleet) -> None:
    state = fleet.desired("b-1")
    other = fleet.repository.publish("digits", [fleet.bundle("two", weights=b"two")])

    def with_model(model: GenerationModel) -> DesiredState:
        return replace(state, generation=replace(state.generation, models=(model,)))

    model = state.generation.models[0]
    bad = [
        replace(state, generation=replace(state.generation, runtime="0" * 64)),
        with_model(replace(model, release="digits@9")),
        with_model(replace(model, bundle="0" * 64)),
        with_model(replace(model, bundle=next(iter(other.bundles.values())))),
    ]
    for wrong in bad:
        with pytest.raises(AssignRefused):
            fleet.repository.assign(wrong)
    fleet.repository.assign(state)


def test_what_could_not_be_sent_is_not_asked_for(fleet: Fleet) -> None:
    fleet.repository.assign(before := fleet.desired("b-1"))
    release = fleet.repository.publish("digits", [fleet.bundle("next", weights=b"next")])
    (fleet.folder.repository / "blobs" / digest(b"next")).unlink()
    with pytest.raises(BlobMissing):
        fleet.repository.assign(fleet.desired("b-1", 2, release))
    for manifest in (fleet.folder.repository / "targets/runtimes").rglob("*.json"):
        manifest.unlink()
    with pytest.raises(RepositoryDamaged):
        fleet.repository.assign(fleet.desired("b-1", 2))
    assert fleet.repository.desired("b-1") == before


def test_adding_a_board_signs_one_bin_anew(fleet: Fleet) -> None:
    def bins() -> set[str]:
        return {path.name for path in (fleet.folder.repository / "metadata").glob("*.desired-bin-*")}

    before = bins()
    fleet.repository.assign(fleet.desired("b-1"))
    assert len(bins() - before) == 1


def test_a_push_set_stays_one_state_while_others_write(fleet: Fleet, tmp_path: Path) -> None:
    fleet.repository.assign(fleet.desired("b-1"))
    push = fleet.repository.push_set("b-1")
    fleet.repository.assign(fleet.desired("b-2"), fleet.desired("b-1", 2))
    fleet.repository.publish("digits", [fleet.bundle("two")])
    board = Board(tmp_path / "board", "b-1")
    board.receive(push)
    assert board.apply().counter == 1


def test_what_was_replaced_goes_after_a_day(fleet: Fleet) -> None:
    metadata = fleet.folder.repository / "metadata"
    for counter in range(1, 4):
        fleet.repository.assign(fleet.desired("b-1", counter))
    kept = list(metadata.glob("*.snapshot.json"))
    assert len(kept) > 2
    for path in fleet.folder.repository.rglob("*.json"):
        os.utime(path, (time.time() - 2 * DAY_S,) * 2)
    fleet.repository.assign(fleet.desired("b-1", 4))
    assert len(list(metadata.glob("*.snapshot.json"))) == 1
    assert len(list((fleet.folder.repository / "targets" / "desired").glob("*.b-1.json"))) == 1
    assert (metadata / "1.root.json").exists()
    assert fleet.repository.desired("b-1").counter == 4  # type: ignore[union-attr]


def test_a_device_whose_name_ends_like_anothers_keeps_its_files(fleet: Fleet) -> None:
    fleet.repository.assign(fleet.desired("b.1"), fleet.desired("1"))
    for path in fleet.folder.repository.rglob("*.json"):
        os.utime(path, (time.time() - 2 * DAY_S,) * 2)
    fleet.repository.assign(fleet.desired("1", 2))
    fleet.repository.push_set("b.1")


def test_a_signature_with_half_its_time_left_is_made_anew(fleet: Fleet) -> None:
    assert fleet.repository.refresh() == ()
    later = Repository(fleet.folder.repository, fleet.keys, clock=lambda: time.time() + 200 * DAY_S)
    signed = later.refresh()
    assert {"desired", "desired-bin-00", "desired-bin-1f", "snapshot", "timestamp"} <= set(signed)
    assert "targets" not in signed
    assert later.refresh() == ()
    assert len({end for role, end in later.expiry().items() if role not in ("root", "targets")}) == 1
