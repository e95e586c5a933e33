"""Killed before any of its file operations, a command leaves a repository that verifies, and the next one goes on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.errors import RepositoryExists
from edge.config import FleetFolder
from edge.repository import Repository
from tests.house.tree import ROOT
from tests.repository.board import Board
from tests.repository.fleet import Fleet, make_bundle, passphrase


def cut(fleet: Fleet, work: Path, operation: str, *, stride: int = 1) -> list[Path]:
    """The folders left by a kill at each point, or at each `stride`-th one."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.repository.cut", fleet.folder.path, work, operation, str(stride)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    last = int(ran.stdout)
    return [work / str(point) for point in range(1, last + 1, stride)]


@pytest.mark.parametrize(
    ("operation", "least_points"),
    [("publish", 20), ("add-runtime", 10), ("assign", 8), ("refresh", 4), ("push-set", 10)],
)
def test_whatever_is_cut_the_repository_verifies_and_goes_on(
    fleet: Fleet, tmp_path: Path, operation: str, least_points: int
) -> None:
    fleet.repository.assign(fleet.desired("b-1"))
    folders = cut(fleet, tmp_path / "cut", operation)
    assert len(folders) >= least_points
    for folder in folders:
        repository = Repository(FleetFolder.open(folder).repository, fleet.keys, passphrase)
        before = repository.releases()
        assert [release.title for release in before] in (["digits@1"], ["digits@1", "digits@2"])
        board = Board(folder / "board", "b-1")
        board.receive(repository.push_set("b-1"))
        assert board.apply() == repository.desired("b-1")
        after = repository.publish("digits", [make_bundle(folder / "bundle", weights=b"next")])
        assert after.version == len(before) + 1
        counter = repository.next_counter("b-1")
        repository.assign(fleet.desired("b-1", counter, after))
        board.receive(repository.push_set("b-1"))
        assert board.apply().generation.title == after.title


def test_a_creation_that_was_cut_can_be_made_again(fleet: Fleet, tmp_path: Path) -> None:
    folders = cut(fleet, tmp_path / "cut", "create", stride=6)
    assert len(folders) > 15
    for folder in folders:
        with contextlib.suppress(RepositoryExists):  # cut in its last step
            Repository.create(folder / "second", fleet.keys, passphrase)
        assert Repository.open(folder / "second", fleet.keys).releases() == ()
