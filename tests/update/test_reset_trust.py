"""A board whose fleet folder is lost joins another fleet, or its own with another root, and serves all the while."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.codec import decode
from agent.contract.messages import Signed
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Repository, Trust
from tests.update.bare import Bare
from tests.update.world import (
    Board,
    Fleet,
    copied_fleet,
    copy_of,
    copy_with_fleet,
    passphrase,
    wait_until,
)

pytestmark = pytest.mark.timeout(300)
STEP = 5
"""Every so many of the points at which the installer can be cut is tried in the quick lane."""


def other_root(fleet: Fleet, path: Path, *, same_name: bool = False) -> Fleet:
    """A fleet made anew, with the same runtime: of another name, or of the same one with other keys."""
    folder = FleetFolder.create(path / "anew", "kitchen")
    if same_name:
        shutil.copy(fleet.folder.edge_toml, folder.edge_toml)
        folder = FleetFolder.open(folder.path)
    keys = KeyRing(folder.keys)
    keys.create(passphrase)
    repository = Repository.create(folder.repository, keys, passphrase)
    layers = (fleet.agent, fleet.packages)
    repository.add_runtime(
        fleet.runtime_bytes, {one.sha256: fleet.blobs.folder / "blobs" / one.sha256 for one in layers}
    )
    return replace(fleet, folder=folder, keys=keys, repository=repository, work=path)


@pytest.fixture(scope="module")
def lost(flashed_once: Board, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A board, cut off, that serves generation 1 of a fleet whose folder is lost; it waits to be copied."""
    board = copy_with_fleet(flashed_once, tmp_path_factory.mktemp("lost"))
    for name in ("link", "outbox"):
        (board.root / name).mkdir()
        (board.root / name / "of-the-earlier-life").write_text("x")
    (board.root / "mqtt.key").unlink()  # made anew, so that it is seen which one is there
    assert board.run("recover").returncode == 0
    return board


@pytest.fixture(scope="module")
def anew(lost: Board, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return other_root(lost.fleet, tmp_path_factory.mktemp("anew"))


@pytest.fixture(scope="module")
def rotated(lost: Board, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return other_root(lost.fleet, tmp_path_factory.mktemp("rotated"), same_name=True)


def installer(board: Board, fleet: Fleet) -> Bare:
    """What the laptop of `fleet` does on `board`."""
    bare = object.__new__(Bare)
    bare.__dict__.update(
        root=board.root, fleet=fleet, serial=board.root / "serial", more_environment=board.more_environment
    )
    bare.bring()
    return bare


def of_fleet(board: Board, fleet: Fleet) -> Board:
    board.fleet = fleet
    return board


@pytest.fixture
def board(lost: Board, tmp_path: Path) -> Iterator[Board]:
    board = copy_of(lost, tmp_path / "board")
    yield board
    board.stop()


def serves_first_generation(board: Board) -> bool:
    return board.served().get("generation") == 1


def test_a_lost_fleets_board_serves_on_until_the_new_fleets_release_is_confirmed(
    board: Board, lost: Board, anew: Fleet
) -> None:
    board.supervise()
    wait_until(lambda: serves_first_generation(board), "it serves")
    bare = installer(board, anew)
    before = (board.root / "root.json").read_bytes()
    assert "belongs to the fleet" in bare.refused()
    assert (board.root / "root.json").read_bytes() == before, "without the flag nothing is changed"

    enrolled = bare.enrol(reset_trust=True)
    assert enrolled.fleet == anew.folder.config.fleet
    assert enrolled.public_key != (lost.root / "state/device.pub").read_text().strip()
    assert (board.root / "mqtt.pub").read_bytes() != (lost.root / "mqtt.pub").read_bytes()
    assert list((board.root / "outbox").iterdir()) == list((board.root / "link").iterdir()) == []
    wait_until(lambda: serves_first_generation(board), "the earlier fleet's generation serves on")
    assert (board.report.state.value, board.report.trust) == ("confirmed", ())

    board.fill_inbox()  # the earlier fleet speaks no more
    assert board.push_and_wait().code == "artifact.signature-invalid"
    assert serves_first_generation(board)

    report = of_fleet(board, anew).flash(board.report.counter + 1, anew.publish("good two"))
    assert (report.state.value, report.verified) == ("confirmed", "tuf root 1, targets 3")
    wait_until(lambda: board.served().get("generation") == 2, "the new fleet's generation serves")


@pytest.mark.bed
def test_the_same_fleet_with_other_keys_keeps_who_the_board_is(
    board: Board, lost: Board, rotated: Fleet
) -> None:
    of_fleet(board, rotated)
    board.assign(2, release := rotated.publish("good two"))
    board.push()
    board.apply()
    assert board.report.code == "artifact.signature-invalid"

    enrolled = installer(board, rotated).enrol(reset_trust=True)
    board.run("remove")  # the supervisor that it started
    assert enrolled.public_key == (lost.root / "state/device.pub").read_text().strip()
    assert (board.root / "mqtt.pub").read_bytes() == (lost.root / "mqtt.pub").read_bytes()
    assert (board.root / "outbox/of-the-earlier-life").exists()
    board.supervise()
    assert board.push_and_wait().state.value == "confirmed"
    assert release.title in board.served()["releases"]


@pytest.mark.bed
def test_newer_roots_that_earlier_pushes_left_lead_nowhere(board: Board, lost: Board, tmp_path: Path) -> None:
    """The keys were changed, and only a backup from before that is left: the board has seen root 2."""
    old = copied_fleet(lost.fleet, tmp_path)
    after = copied_fleet(lost.fleet, tmp_path / "after")
    Trust(after.folder.repository, after.keys, passphrase).rotate("timestamp")
    of_fleet(board, after)
    assert board.update(2, after.publish("good two")) == 0
    assert (board.root / "inbox/metadata/2.root.json").exists()
    installer(board, old).enrol(reset_trust=True)
    board.run("remove")
    of_fleet(board, old)
    board.supervise()
    assert board.flash(board.report.counter + 1, old.publish("good three")).state.value == "confirmed"


def test_a_damaged_record_and_a_hostile_clock_floor_do_not_stand_in_the_way(
    board: Board, rotated: Fleet
) -> None:
    record = board.root / "state/update.json"
    record.write_text(json.dumps(json.loads(record.read_bytes()) | {"clock_floor": 1 << 40, "counter": 7}))
    bare = installer(board, rotated)
    bare.enrol(reset_trust=True)
    assert (board.report.clock_floor, board.report.counter) == (0, 7)
    record.write_bytes(b"{")
    bare.bring()
    bare.enrol(reset_trust=True)
    assert board.report.current is not None
    bare.launch("remove")


def cut_points(lost: Board, fleet: Fleet, path: Path) -> list[tuple[int, str]]:
    """Every change that the installer makes from the record to the configuration, by its number."""
    board = copy_of(lost, path)
    log = path / "changes.log"
    board.more_environment = {"EDGE_FALL_LOG": str(log)}
    bare = installer(board, fleet)
    bare.enrol(reset_trust=True)
    bare.more_environment = {}
    bare.launch("remove")
    changes = log.read_text().splitlines()
    ends = [number for number, line in enumerate(changes) if re.match(r"rename \S+ \S*/board.json", line)]
    begins = next(number for number, line in enumerate(changes) if "update.json" in line)
    return list(enumerate(changes))[begins : ends[0] + 2]


def wherever_it_is_cut(lost: Board, fleet: Fleet, path: Path, *, step: int, first: int) -> int:
    points = cut_points(lost, fleet, path / "whole")
    for number, change in points[first::step]:
        board = copy_of(lost, path / f"cut-{number}")
        log = board.root / "changes.log"
        board.more_environment = {"EDGE_FALL_LOG": str(log), "EDGE_FALL_AT": str(number)}
        bare = installer(board, fleet)
        where = f"cut before {number}: {change}"
        assert bare.install(bare.request(reset_trust=True)).returncode < 0, where
        board.more_environment = bare.more_environment = {}
        board.supervise()
        try:
            wait_until(lambda b=board: serves_first_generation(b), where)
            bare.bring()
            key = bare.enrol(reset_trust=True).public_key
            of_before = (board.root / "outbox/of-the-earlier-life").exists()
            assert of_before == (fleet.folder.config.fleet == lost.fleet.folder.config.fleet), where
            envelope = decode(Signed, (board.root / "state/reported.json").read_bytes())
            assert envelope.device == board.report.device, where
            assert key == (board.root / "state/device.pub").read_text().strip()
            counter = board.report.counter + 1 + (fleet.repository.desired(board.report.device) is not None)
            counter = max(counter, fleet.repository.next_counter(board.report.device))
            report = of_fleet(board, fleet).flash(counter, fleet.publish(f"good {number}"))
            assert report.state.value == "confirmed", (where, report)
        finally:
            board.stop()
        shutil.rmtree(board.root, ignore_errors=True)
    return len(points)


@pytest.mark.bed
def test_a_reset_of_trust_that_is_cut_serves_and_the_next_one_finishes_it(
    lost: Board, anew: Fleet, tmp_path: Path
) -> None:
    assert wherever_it_is_cut(lost, anew, tmp_path, step=STEP * 4, first=STEP * 2) > 30


@pytest.mark.bed
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["anew", "rotated"])
def test_a_reset_of_trust_serves_wherever_it_is_cut(
    lost: Board, request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    wherever_it_is_cut(lost, request.getfixturevalue(name), tmp_path, step=1, first=0)
