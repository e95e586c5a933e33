"""kill -9 at every write of the journal, then resume: no board is activated twice, none is forgotten."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.rollouts import journal as journals
from edge.rollouts.engine import Engine, Pace
from edge.rollouts.journal import Journal
from edge.rollouts.plan import Plan
from edge.rollouts.state import MemberState, RolloutEvent, RolloutState
from tests.rollouts.paper import NEW, OLD, Board, PaperRoad, PaperWitness, plan_of

NAMES = ("a", "b", "c", "d")
PLAN = plan_of(("a",), ("b", "c"), ("d",))
MODES = ("before", "torn", "after")
"""SIGKILL before a line is written, with half of it written, and when it is whole and nothing was done by it yet."""
SCENES = {
    "good": {},
    "halts": {"c": {"new": "rolled-back", "trial_s": 0.03}},
    "cut": {"b": {"cuts": 2}},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class World:
    """Boards and a rollout's folder, which outlive the processes that work on them."""

    def __init__(self, folder: Path, scene: dict[str, dict[str, Any]]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder / "digits-4-1"
        self.paper = folder / "boards"
        self.boards = {name: Board(self.paper, name).make() for name in NAMES}
        for name, rules in scene.items():
            self.boards[name].behave(**rules)

    def work(self, plan: Plan = PLAN) -> None:
        """What `start` and `resume` do."""
        if (self.folder / journals.FILE).exists():
            with Journal.open(self.folder) as journal:
                if not journal.rollout.is_open:
                    return
                if journal.rollout.state is not RolloutState.PLANNED:
                    journal.append(RolloutEvent.RESUME)
                self.engine(journal).run()
        else:
            with Journal.create(self.folder, plan) as journal:
                self.engine(journal).run()

    def engine(self, journal: Journal) -> Engine:
        return Engine(journal, PaperRoad(self.paper), PaperWitness(), Pace(pool=3, period_s=0.003))

    def killed_at(self, number: int, mode: str) -> bool:
        """Work in a process that is killed at its write `number`; whether it came so far."""
        child = multiprocessing.get_context("fork").Process(target=self._fall, args=(number, mode))
        child.start()
        child.join(30)
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        return child.exitcode != 0

    def _fall(self, number: int, mode: str) -> None:
        real, count = Journal._write, 0

        def write(journal: Journal, line: bytes) -> None:
            nonlocal count
            count += 1
            if count == number and mode == "torn":
                with (journal.folder / journals.FILE).open("ab") as file:
                    file.write(line[: len(line) // 2])
            if count == number and mode != "after":
                os.kill(os.getpid(), signal.SIGKILL)
            real(journal, line)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        Journal._write = write  # type: ignore[method-assign]
        self.work()
        os._exit(0)

    def is_as_if_nothing_had_happened(self, scene: str) -> None:
        rollout = journals.read(self.folder)[1]
        activations = {name: board.activations() for name, board in self.boards.items()}
        runs = {name: board.runs for name, board in self.boards.items()}
        if scene == "halts":
            assert rollout.state is RolloutState.HALTED
            assert runs == {"a": NEW, "b": OLD, "c": OLD, "d": OLD}
            assert activations["d"] == 0
            assert rollout.members["a"].state is MemberState.UPDATED
            assert rollout.members["b"].state in (MemberState.BACK, MemberState.WAITING)
        else:
            assert rollout.state is RolloutState.DONE
            assert set(runs.values()) == {NEW}
        assert all(count <= 1 for count in activations.values()), activations
        assert not rollout.outstanding


@pytest.mark.parametrize(
    ("scene", "mode"),
    [
        ("good", "after"),
        ("halts", "torn"),
        *(
            pytest.param(scene, mode, marks=pytest.mark.bed)
            for scene in SCENES
            for mode in MODES
            if (scene, mode) not in (("good", "after"), ("halts", "torn"))
        ),
    ],
)
def test_a_kill_at_every_write_changes_nothing(tmp_path: Path, scene: str, mode: str) -> None:
    number = 0
    killed = True
    while killed:
        number += 1
        world = World(tmp_path / "world", SCENES[scene])
        killed = world.killed_at(number, mode)
        world.work()
        world.is_as_if_nothing_had_happened(scene)
    assert number > 10, "there were fewer writes than a rollout has"


@pytest.mark.bed
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scene=st.sampled_from(sorted(SCENES)),
    falls=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(MODES)), max_size=6),
)
def test_many_kills_in_a_row_change_nothing(tmp_path: Path, scene: str, falls: list[tuple[int, str]]) -> None:
    world = World(tmp_path / "world", SCENES[scene])
    for number, mode in falls:
        world.killed_at(number, mode)
    world.work()
    world.is_as_if_nothing_had_happened(scene)
