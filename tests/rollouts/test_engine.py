"""A rollout at work, on paper boards: waves, halt and way back, boards out of reach, wishes, and a second engine."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from agent.contract.errors import ExitCode, RolloutBusy, RolloutEnded
from agent.contract.states import UpdateState
from edge.rollouts import history, operations
from edge.rollouts import journal as journals
from edge.rollouts.engine import Engine, Pace
from edge.rollouts.fold import Rollout
from edge.rollouts.journal import Journal
from edge.rollouts.plan import Patience, Plan
from edge.rollouts.state import MemberState, RolloutEvent, RolloutState
from edge.rollouts.wishes import Wish, wish
from tests.rollouts.paper import NEW, OLD, Board, PaperRoad, PaperWitness, plan_of

NAMES = ("a", "b", "c", "d", "e", "f")
PACE = Pace(pool=4, period_s=0.02)
LONG_S = 600.0
"""A trial that goes on until the test lets it end."""


class Fleet:
    """Paper boards and one rollout of them."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder / "rollouts" / "digits-4-1"
        self.boards = {name: Board(folder / "boards", name).make() for name in names}
        self.road = PaperRoad(folder / "boards")
        self.witness = PaperWitness()

    def start(self, plan: Plan) -> ExitCode:
        with Journal.create(self.folder, plan) as journal:
            return self.work(journal)

    def resume(self, event: RolloutEvent | None = RolloutEvent.RESUME, *, promoted: bool = False) -> ExitCode:
        with Journal.open(self.folder) as journal:
            if event is not None:
                journal.append(event)
            return self.work(journal, promoted=promoted)

    def work(self, journal: Journal, *, promoted: bool = False) -> ExitCode:
        return Engine(journal, self.road, self.witness, PACE).run(promoted=promoted)

    @property
    def rollout(self) -> Rollout:
        return journals.read(self.folder)[1]

    @property
    def runs(self) -> dict[str, str]:
        return {name: board.runs for name, board in self.boards.items()}

    def state(self, name: str) -> MemberState:
        return self.rollout.members[name].state

    def wait_for(self, state: RolloutState, *, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not (self.folder / journals.FILE).exists() or self.rollout.state is not state:
            assert time.monotonic() < deadline, f"not {state}"
            time.sleep(0.01)

    def wait_until_asked(self, name: str) -> None:
        self.wait_for(RolloutState.RUNNING)
        deadline = time.monotonic() + 60
        while self.state(name) is not MemberState.ASKED:
            assert time.monotonic() < deadline, f"{name} is {self.state(name)}"
            time.sleep(0.01)


def ended(thread: threading.Thread) -> None:
    """Wait for an engine's end."""
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, *NAMES)


def test_all_waves_go_through(fleet: Fleet) -> None:
    assert fleet.start(plan_of(("a",), ("b", "c"), ("d", "e", "f"))) == ExitCode.DONE
    assert set(fleet.runs.values()) == {NEW}
    assert fleet.rollout.state is RolloutState.DONE
    events = [entry.event for entry in journals.read(fleet.folder)[0]]
    assert events.count(RolloutEvent.ADVANCE) == 2
    assert events.index(RolloutEvent.ADVANCE) < events.index(RolloutEvent.ASKED, 4), "b waits for a"


def test_a_refused_canary_halts_and_the_others_never_see_it(fleet: Fleet) -> None:
    fleet.boards["a"].behave(new="refused")
    assert fleet.start(plan_of(("a",), ("b", "c", "d", "e", "f"))) == ExitCode.NEGATIVE_VERDICT
    assert set(fleet.runs.values()) == {OLD}
    assert [board.activations() for board in fleet.boards.values()] == [1, 0, 0, 0, 0, 0]
    rollout = fleet.rollout
    assert rollout.state is RolloutState.HALTED
    assert "trial.too-slow" in str(rollout.members["a"].reason)


def test_boards_of_the_wave_go_back_and_those_of_earlier_waves_keep_it_until_they_are_asked(
    fleet: Fleet,
) -> None:
    fleet.boards["c"].behave(new="rolled-back")
    assert fleet.start(plan_of(("a",), ("b", "c", "d"), ("e", "f"))) == ExitCode.NEGATIVE_VERDICT
    assert fleet.runs == {"a": NEW} | dict.fromkeys("bcdef", OLD)
    assert fleet.boards["e"].activations() == 0
    assert fleet.state("a") is MemberState.UPDATED
    assert fleet.resume(RolloutEvent.TAKE_BACK) == ExitCode.DONE
    assert set(fleet.runs.values()) == {OLD}
    assert fleet.rollout.state is RolloutState.TAKEN_BACK
    assert all(board.activations() <= 1 for board in fleet.boards.values())


def test_failures_within_the_budget_go_on(fleet: Fleet) -> None:
    fleet.boards["a"].behave(new="refused")
    assert fleet.start(plan_of(NAMES, max_failed="1")) == ExitCode.DONE
    assert sum(run == NEW for run in fleet.runs.values()) == 5


def test_a_board_that_runs_it_already_is_not_taken_back(fleet: Fleet) -> None:
    fleet.start(plan_of(("a",)))
    other = fleet.folder.with_name("digits-4-2")
    fleet.folder, first = other, fleet.folder
    fleet.boards["b"].behave(new="refused")
    assert fleet.start(plan_of(("a", "b"))) == ExitCode.NEGATIVE_VERDICT
    assert fleet.runs["a"] == NEW
    assert fleet.state("a") is MemberState.UNCHANGED
    assert first.exists()


def test_a_board_out_of_reach_is_not_a_failed_one_and_holds_beyond_its_budget(fleet: Fleet) -> None:
    fleet.boards["b"].behave(away=True)
    assert fleet.start(plan_of(("a", "b"), ("c",))) == ExitCode.INCOMPLETE
    rollout = fleet.rollout
    assert (rollout.state, rollout.unreached) == (RolloutState.PAUSED, ("b",))
    assert rollout.reason is not None
    assert rollout.reason.code == "rollout.held"
    assert fleet.boards["c"].activations() == 0
    fleet.boards["b"].behave()
    assert fleet.resume() == ExitCode.DONE
    assert {fleet.runs[name] for name in "abc"} == {NEW}


def test_within_its_budget_the_rollout_ends_incomplete_and_takes_the_board_up_again(fleet: Fleet) -> None:
    fleet.boards["b"].behave(away=True)
    assert fleet.start(plan_of(("a", "b"), ("c",), max_unreachable="1")) == ExitCode.INCOMPLETE
    assert (fleet.rollout.state, fleet.rollout.unreached) == (RolloutState.DONE, ("b",))
    fleet.boards["b"].behave()
    assert fleet.resume() == ExitCode.DONE
    assert fleet.runs["b"] == NEW


def test_a_board_whose_connection_is_lost_after_the_push_is_settled_by_its_report(fleet: Fleet) -> None:
    fleet.boards["a"].behave(cuts=1)
    assert fleet.start(plan_of(("a",))) == ExitCode.DONE
    assert fleet.boards["a"].activations() == 1


def test_a_board_that_vanishes_after_the_push_is_settled_by_what_it_says_over_mqtt(fleet: Fleet) -> None:
    board = fleet.boards["a"]
    board.behave(cuts=1)

    class Vanishing(PaperWitness):
        def report(self, device_id: str):  # type: ignore[no-untyped-def]
            board.behave(away=True)
            return board.report

    fleet.witness = Vanishing()
    assert fleet.start(plan_of(("a",))) == ExitCode.DONE
    assert fleet.state("a") is MemberState.UPDATED


def test_a_board_that_vanished_is_taken_back_when_it_is_there_again(fleet: Fleet) -> None:
    fleet.boards["a"].behave(cuts=99)
    fleet.boards["b"].behave(new="refused", trial_s=0.2)
    threading.Timer(0.1, lambda: fleet.boards["a"].behave(away=True)).start()
    assert fleet.start(plan_of(("a", "b"))) == ExitCode.NEGATIVE_VERDICT
    assert fleet.rollout.unreached == ("a",) or fleet.runs["a"] == OLD
    fleet.boards["a"].behave()
    assert fleet.resume() == ExitCode.NEGATIVE_VERDICT
    assert fleet.runs == dict.fromkeys(NAMES, OLD)


def test_what_somebody_else_asked_of_a_board_is_not_undone(fleet: Fleet) -> None:
    fleet.start(plan_of(("a",)))
    with fleet.road._visit(fleet.rollout.plan.members[0]) as visit:
        import dataclasses

        other = dataclasses.replace(visit.reported.current, runtime="b" * 64)
        from edge.rollouts.update import Hooks

        fleet.road._carry_out(visit, other, Hooks())
    assert fleet.resume(RolloutEvent.TAKE_BACK) == ExitCode.FAILED
    assert fleet.state("a") is MemberState.LEFT
    assert fleet.boards["a"].report.current == dataclasses.replace(other, number=3)


def test_a_board_that_was_given_the_release_again_by_a_halted_rollout_is_taken_back(fleet: Fleet) -> None:
    fleet.start(plan_of(("a", "b")))
    member = fleet.rollout.plan.members[0]
    with fleet.road._visit(member) as visit:
        import dataclasses

        from edge.rollouts.update import Hooks

        ours = visit.reported.current
        fleet.road._carry_out(visit, dataclasses.replace(ours, runtime="b" * 64), Hooks())
    with fleet.road._visit(member) as visit:
        fleet.road._carry_out(visit, ours, Hooks())
    assert fleet.resume(RolloutEvent.TAKE_BACK) == ExitCode.DONE
    assert (fleet.state("a"), fleet.runs["a"]) == (MemberState.BACK, OLD)


def test_what_was_asked_for_is_what_came_of_it_also_while_boards_are_waited_for(fleet: Fleet) -> None:
    fleet.boards["a"].behave(trial_s=LONG_S)
    thread = threading.Thread(target=lambda: fleet.start(plan_of(("a",), ("b",))))
    thread.start()
    fleet.wait_until_asked("a")
    assert operations.ask(fleet.folder, Wish.PAUSE).state is RolloutState.PAUSED
    assert journals.is_held(fleet.folder), "it waits for a board"
    assert operations.ask(fleet.folder, Wish.ABORT).state is RolloutState.ABORTED
    fleet.boards["a"].behave()
    ended(thread)
    with pytest.raises(RolloutEnded):
        operations.ask(fleet.folder, Wish.PAUSE)


def test_a_pause_that_the_gate_outran_is_no_pause(fleet: Fleet) -> None:
    fleet.boards["a"].behave(new="refused", trial_s=0.2)
    thread = threading.Thread(target=lambda: fleet.start(plan_of(("a", "b"))))
    fleet.boards["b"].behave(trial_s=LONG_S)
    thread.start()
    fleet.wait_for(RolloutState.HALTING)
    with pytest.raises(RolloutEnded):
        operations.ask(fleet.folder, Wish.PAUSE)
    fleet.boards["b"].behave()
    ended(thread)


def test_pause_from_another_terminal_then_resume(fleet: Fleet) -> None:
    fleet.boards["a"].behave(trial_s=LONG_S)
    codes: list[ExitCode] = []
    thread = threading.Thread(
        target=lambda: codes.append(fleet.start(plan_of(("a",), ("b", "c", "d", "e", "f"))))
    )
    thread.start()
    fleet.wait_until_asked("a")
    wish(fleet.folder, Wish.PAUSE)
    fleet.boards["a"].behave()
    ended(thread)
    assert codes == [ExitCode.INCOMPLETE]
    assert fleet.rollout.state is RolloutState.PAUSED
    assert fleet.state("a") is not MemberState.ASKED, "a board that was asked is waited for"
    assert fleet.resume() == ExitCode.DONE
    assert all(board.activations() == 1 for board in fleet.boards.values())


def test_abort_leaves_every_board_what_it_runs(fleet: Fleet) -> None:
    thread = threading.Thread(target=lambda: fleet.start(plan_of(("a",), ("b",), dwell_s="1000")))
    thread.start()
    fleet.wait_for(RolloutState.HOLDING)
    wish(fleet.folder, Wish.ABORT)
    ended(thread)
    assert fleet.rollout.state is RolloutState.ABORTED
    assert (fleet.runs["a"], fleet.runs["b"]) == (NEW, OLD)
    assert fleet.resume(RolloutEvent.TAKE_BACK) == ExitCode.DONE
    assert fleet.runs["a"] == OLD


def test_promote_skips_what_the_gate_still_wants_to_see(fleet: Fleet) -> None:
    codes: list[ExitCode] = []
    plan = plan_of(("a",), ("b",), dwell_s="1000", patience=Patience(reach_s=0.3, hold_s=0.0))
    thread = threading.Thread(target=lambda: codes.append(fleet.start(plan)))
    thread.start()
    fleet.wait_for(RolloutState.HOLDING)
    wish(fleet.folder, Wish.PROMOTE)
    deadline = time.monotonic() + 60
    while fleet.rollout.wave == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fleet.wait_for(RolloutState.HOLDING)
    assert fleet.runs["b"] == NEW
    wish(fleet.folder, Wish.PAUSE)
    ended(thread)
    assert codes == [ExitCode.INCOMPLETE]
    assert fleet.resume(promoted=True) == ExitCode.DONE


def test_a_wave_is_watched_anew_where_the_store_is_another_one(fleet: Fleet) -> None:
    fleet.witness.marks = 1000
    plan = plan_of(("a",), dwell_s="1000", patience=Patience(reach_s=0.3, hold_s=0.0))
    thread = threading.Thread(target=lambda: fleet.start(plan))
    thread.start()
    fleet.wait_for(RolloutState.HOLDING)
    fleet.witness.marks = 0
    deadline = time.monotonic() + 60
    while (mark := fleet.rollout.mark) is None or mark > 1000:
        assert time.monotonic() < deadline, "it waits for numbers of a store that is gone"
        time.sleep(0.01)
    operations.ask(fleet.folder, Wish.ABORT)
    ended(thread)


def test_a_store_that_can_never_be_read_ends_in_a_pause_too(fleet: Fleet) -> None:
    fleet.witness.readable = False
    plan = plan_of(("a",), ("b",), dwell_s="0", patience=Patience(reach_s=0.3, hold_s=0.2))
    assert fleet.start(plan) == ExitCode.INCOMPLETE
    rollout = fleet.rollout
    assert (rollout.state, rollout.reason and rollout.reason.code) == (RolloutState.PAUSED, "rollout.held")
    assert fleet.runs["b"] == OLD
    fleet.witness.readable = True
    assert fleet.resume() == ExitCode.DONE


def test_the_history_of_a_rollout_tells_of_each_board_from_what_to_what_and_why(fleet: Fleet) -> None:
    fleet.boards["b"].behave(new="refused")
    fleet.start(plan_of(("a",), ("b",), ("c",)))
    entries, rollout = journals.read(fleet.folder)
    told = {
        one.device: one
        for one in history.boards(entries, rollout, lambda device_id: fleet.boards[device_id[3:]].report)
    }
    good, bad, untouched = told["a"], told["b"], told["c"]
    assert (good.before, good.wanted, good.state, good.wave) == (OLD, NEW, MemberState.UPDATED, 1)
    assert good.ended is not None
    assert good.ended.counter == good.counter == 2
    assert bad.reason is not None
    assert (bad.reason.code, bad.reason.message) == ("trial.too-slow", "too slow")
    assert bad.ended is not None
    assert bad.ended.state is UpdateState.REFUSED
    assert (untouched.wanted, untouched.at, untouched.ended) == (None, None, None)
    halt = next(turn for turn in history.turns(entries) if turn.event is RolloutEvent.HALT)
    assert halt.reason is not None
    assert {check["name"] for check in halt.reason.numbers} >= {"failed", "dwell"}
    assert history.turns(entries)[0].event is RolloutEvent.PLAN


def test_a_second_engine_is_refused(fleet: Fleet) -> None:
    thread = threading.Thread(target=lambda: fleet.start(plan_of(("a",), ("b",), dwell_s="1000")))
    thread.start()
    fleet.wait_for(RolloutState.HOLDING)
    with pytest.raises(RolloutBusy):
        fleet.resume()
    wish(fleet.folder, Wish.ABORT)
    ended(thread)


def test_one_board_that_hangs_delays_no_other(fleet: Fleet) -> None:
    fleet.boards["a"].behave(trial_s=LONG_S)
    codes: list[ExitCode] = []
    thread = threading.Thread(target=lambda: codes.append(fleet.start(plan_of(NAMES))))
    thread.start()
    deadline = time.monotonic() + 60
    while any(fleet.runs[name] != NEW for name in "bcdef"):
        assert time.monotonic() < deadline, "they wait for a"
        time.sleep(0.01)
    assert fleet.runs["a"] == OLD
    fleet.boards["a"].behave()
    ended(thread)
    assert codes == [ExitCode.DONE]
    assert fleet.runs["a"] == NEW


def test_boards_that_are_away_keep_no_other_waiting(fleet: Fleet) -> None:
    for name in "abcde":
        fleet.boards[name].behave(away=True)
    plan = plan_of(NAMES, max_unreachable="5", patience=Patience(reach_s=5.0, hold_s=0.1))
    thread = threading.Thread(target=lambda: fleet.start(plan))
    thread.start()
    deadline = time.monotonic() + 4.5
    while fleet.runs["f"] != NEW:
        assert time.monotonic() < deadline, "it waits for boards that are away"
        time.sleep(0.01)
    ended(thread)
    assert fleet.rollout.unreached == tuple("abcde")
