"""The update process killed before its changes to the file system, while its supervisor goes on; and what follows from
kills without end, from damage and from power cycles. Cuts of the whole board are in `tests/crash`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.update.world import QUICK, Board, copy_of, copy_with_fleet, wait_until

pytestmark = pytest.mark.bed


TELLING = re.compile(
    r"rename \S*update\.json|rename \S*/\.new-(current|trial)\S* |unlink \S*/trial|"
    r"rename \S*objects/\S+ |rename \S*generations/\S+ |unlink \S*/resume"
)
STEP = 10
"""Every so many of these points is tried here."""


@pytest.fixture(scope="module")
def begun(flashed_once: Board, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A board that serves generation 1, cut off, with generation 2 in its inbox."""
    board = copy_with_fleet(flashed_once, tmp_path_factory.mktemp("begun"))
    board.assign(2, board.fleet.publish("good two"), terms=replace(QUICK, max_attempts=4))
    board.fill_inbox()
    return board


def changes_of_an_update(board: Board, path: Path) -> list[str]:
    whole = copy_of(board, path)
    log = path / "changes.log"
    whole.more_environment = {"EDGE_FALL_LOG": str(log)}
    whole.supervise()
    try:
        (path / "inbox/request").write_text("go")
        whole.wait_for("go")
    finally:
        whole.stop()
    return log.read_text().splitlines()


def one_verified_generation(board: Board) -> None:
    """What must hold at every moment at which the board is looked at."""
    current = board.link("current")
    assert current in (1, 2)
    for number in {current, board.link("trial") or current}:
        generation = json.loads((board.root / f"generations/{number}/generation.json").read_bytes())
        for digest in (generation["runtime"], *(model["bundle"] for model in generation["models"])):
            assert (board.root / "objects" / digest / "manifest.json").is_file()
    assert (board.root / "generations/1/generation.json").is_file(), "the way back is not touched"


def test_wherever_the_update_process_is_killed_the_supervisor_brings_the_update_to_its_end(
    begun: Board, tmp_path: Path
) -> None:
    changes = changes_of_an_update(begun, tmp_path / "whole")
    points = [number for number, change in enumerate(changes) if TELLING.match(change)]
    points = sorted({point for number in points for point in (number, number + 1)} - {len(changes)})
    assert len(points) > 20
    for point in points[::STEP]:
        board = copy_of(begun, tmp_path / f"cut-{point}")
        board.more_environment = {
            "EDGE_FALL_LOG": str(board.root / "changes.log"), "EDGE_FALL_AT": str(point),
        }  # fmt: skip
        board.supervise()
        (board.root / "inbox/request").write_text("go")
        try:
            where = f"{point}: {changes[point]}"
            wait_until(lambda b=board, p=point: len(log_of(b)) > p, f"the cut at {where}")
            report = board.wait_for("go") if "resume" not in changes[point] else board.report
            assert report.state.value == "confirmed", where
            assert (board.link("current"), board.link("trial")) == (2, None), where
            wait_until(lambda b=board: b.served().get("generation") == 2, f"2 serves, cut at {where}")
            assert report.attempts <= 4
            one_verified_generation(board)
        finally:
            board.stop()


def log_of(board: Board) -> list[str]:
    log = board.root / "changes.log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_trial_that_always_kills_the_update_process_is_given_up(begun: Board, tmp_path: Path) -> None:
    board = copy_of(begun, tmp_path / "board")
    board.supervise()
    try:
        (board.root / "inbox/request").write_text("go")
        assert board.wait_for("go").state.value == "confirmed"
    finally:
        board.stop()
    for attempts, state_name in ((4, "probation"), (4, "checking")):
        record = json.loads((board.root / "state/update.json").read_bytes())
        record |= {
            "state": state_name,
            "attempts": attempts,
            "trial": 2,
            "current": 1,
            "signed": record["signed"] + 5,
        }
        (board.root / "state/update.json").write_text(json.dumps(record))
        assert board.run("recover").returncode == 0
        report = board.report
        assert report.code == "trial.attempts-exhausted"
        assert report.state.value == {"probation": "rolled-back", "checking": "refused"}[state_name]
        assert (board.link("current"), board.link("trial")) == (1, None)


def test_power_cycles_of_a_confirmed_generation_count_nothing(begun: Board, tmp_path: Path) -> None:
    board = copy_of(begun, tmp_path / "board")
    (board.root / "inbox/metadata/timestamp.json").unlink()
    for _ in range(6):
        assert board.run("recover").returncode == 0
    report = board.report
    assert (report.state.value, report.attempts, report.code) == ("confirmed", 1, None)
    assert not (board.root / "state/resume").exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b'{"state":"probation","counter":7}', None],
    ids=["empty", "torn", "impossible", "missing"],
)
def test_a_damaged_record_is_said_and_the_next_update_proceeds(
    begun: Board, tmp_path: Path, damage: bytes | None
) -> None:
    board = copy_of(begun, tmp_path / "board")
    record = board.root / "state/update.json"
    counter = board.envelope.counter
    record.unlink()
    if damage is not None:
        record.write_bytes(damage)
    assert board.run("recover").returncode == 0
    report = board.report
    assert (report.code, report.counter, board.link("current")) == ("update.state-damaged", 1, 1)
    assert board.envelope.counter > counter, "a receiver refuses counters that it has seen"
    board.supervise()
    try:
        (board.root / "inbox/request").write_text("go")
        assert board.wait_for("go").state.value == "confirmed"
        assert board.link("current") == 2
    finally:
        board.stop()
