"""The laptop sleeps in the middle: what a rollout waits for, it waits for while it is awake."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from agent.contract.errors import ExitCode
from edge.rollouts import journal as journals
from edge.rollouts.awake import LONGEST_S, AwakeClock
from edge.rollouts.engine import Engine, Pace
from edge.rollouts.journal import Journal
from edge.rollouts.plan import Patience
from edge.rollouts.state import RolloutEvent, RolloutState
from tests.rollouts.paper import NEW, Board, PaperRoad, PaperWitness, plan_of

ASLEEP_S = LONGEST_S + 3.0


def begin(folder: Path) -> None:
    plan = plan_of(("a",), patience=Patience(reach_s=LONGEST_S + 2.0, hold_s=1.0))
    with Journal.create(folder / "digits-4-1", plan) as journal:
        engine = Engine(journal, PaperRoad(folder), PaperWitness(), Pace(pool=1, period_s=0.05))
        os._exit(engine.run())


@pytest.mark.bed
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_board_that_is_away_while_the_laptop_sleeps_is_tried_again_in_the_morning(tmp_path: Path) -> None:
    board = Board(tmp_path, "a").make()
    board.behave(away=True)
    engine = multiprocessing.get_context("fork").Process(target=begin, args=(tmp_path,))
    engine.start()
    assert engine.pid is not None
    time.sleep(1.0)
    os.kill(engine.pid, signal.SIGSTOP)
    time.sleep(ASLEEP_S)
    os.kill(engine.pid, signal.SIGCONT)
    time.sleep(0.2)
    board.behave()
    engine.join(40)
    assert engine.exitcode == ExitCode.DONE
    entries, rollout = journals.read(tmp_path / "digits-4-1")
    assert rollout.state is RolloutState.DONE
    assert RolloutEvent.UNREACHED not in [entry.event for entry in entries]
    assert (board.runs, board.activations()) == (NEW, 1)


def test_the_clock_of_being_awake_never_goes_faster_than_time() -> None:
    clock, began = AwakeClock(), time.monotonic()
    seen = [clock.now_s() for _ in range(1000)]
    assert seen == sorted(seen)
    assert 0 <= seen[-1] <= time.monotonic() - began
