"""The update's own machine, with any outcomes of its steps, cut and filled up anywhere: an end is reached, and only
what passed is `current`. What the steps themselves do is tested elsewhere on real processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.codec import encode
from agent.contract.release import DesiredState, Generation, GenerationModel
from agent.contract.states import END_STATES, UpdateState
from agent.update import machine as stepping
from agent.update.probation import Look
from agent.update.record import Reason, load
from tests.update.drawn import ATTEMPTS, Turn, World, put_object, runtime_object, turns, world


@pytest.fixture(autouse=True, scope="module")
def drawn_outcomes() -> Iterator[list[World]]:
    """The steps of a trial end as the turn says."""
    now: list[World] = []

    def check(desired: DesiredState, **_: Any) -> tuple[tuple[()], Reason | None]:
        now[-1].begun[desired.counter] += 1
        return (), now[-1].step("check")

    def probation(desired: DesiredState, **_: Any) -> Reason | None:
        before = load(now[-1].folder)
        assert before.state is UpdateState.PROBATION, "saved before it is acted on"
        now[-1].serves = desired.generation.number
        return now[-1].step("probation")

    def serve(number: int, **_: Any) -> Look:
        turn = now[-1].turn
        now[-1].service.reload()
        if turn is None or turn.returns:
            now[-1].serves = number
        return Look(reason="" if turn is None or turn.returns else "it does not start")

    with pytest.MonkeyPatch.context() as patch:
        for name, what in (("check", check), ("probation", probation), ("serve", serve)):
            patch.setattr(stepping, name, what)
        patch.setattr(stepping, "served_generation", lambda _folder: now[-1].serves)
        patch.setattr(stepping, "serving_connected", lambda _folder, _host: False)
        yield now


@settings(max_examples=40, deadline=None)
@given(plan=st.lists(turns, max_size=8))
def test_whatever_happens_an_end_is_reached_and_only_what_passed_is_current(
    drawn_outcomes: list[World], plan: list[Turn]
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        for turn in plan:
            board.play(turn)
            board.holds()
        before = load(board.folder)
        board.play(None)
        board.holds()
        record = load(board.folder)
        assert record.state in END_STATES, "one run that nothing disturbs comes to an end"
        assert board.folder.linked(board.folder.current) == record.current
        assert board.folder.linked(board.folder.trial) is None
        assert record.attempts <= ATTEMPTS
        if record.current is not None:
            assert board.serves in (None, record.current), "what was on trial serves no more"
        if not before.in_progress:
            assert record.current == before.current
        board.play(replace(PASSES, asks=True))
        assert load(board.folder).state is UpdateState.CONFIRMED, (
            "every end is left by the next desired state"
        )
        assert load(board.folder).current == board.counter


@pytest.mark.parametrize("fall", ["before", "full"])
@pytest.mark.parametrize("probation", ["passes", "fails"])
def test_an_update_that_falls_over_at_any_change_is_settled_by_the_next_run(
    drawn_outcomes: list[World], probation: str, fall: str
) -> None:
    at, fell = 0, True
    while fell:
        with world() as board:
            drawn_outcomes.append(board)
            board.play(replace(PASSES, asks=True))
            fell = board.play(replace(PASSES, asks=True, probation=probation, fall=fall, at=at))
            board.holds()
            board.play(None)
            board.holds()
            record = load(board.folder)
            assert record.state in END_STATES
            assert board.serves == record.current, f"what is current serves, {fall} change {at}"
        at += 1
    assert at > 20


PASSES = Turn(asks=False, check="passes", probation="passes", returns=True, fall="", at=0)


@pytest.mark.parametrize("how", ["raises", "cut"])
@pytest.mark.parametrize("step", ["check", "probation"])
def test_what_always_breaks_off_is_given_up_after_its_attempts(
    drawn_outcomes: list[World], step: str, how: str
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        board.play(replace(PASSES, asks=True))
        board.play(replace(PASSES, asks=True, **{step: how}))
        runs = 1
        while load(board.folder).in_progress:
            board.play(replace(PASSES, **{step: how}))
            runs += 1
        record = load(board.folder)
        assert (record.code, record.attempts, record.current) == ("trial.attempts-exhausted", ATTEMPTS, 1)
        assert runs <= ATTEMPTS + 1


def test_what_is_taken_back_at_the_start_of_a_run_has_as_long_as_any_other(
    drawn_outcomes: list[World],
) -> None:
    left_s = [float("inf")]
    cut_short: list[bool] = []

    @contextmanager
    def within(seconds: float) -> Iterator[None]:
        cut_short.append(seconds > left_s[-1])
        left_s.append(seconds)
        yield
        left_s.pop()

    with world() as board:
        drawn_outcomes.append(board)
        board.play(replace(PASSES, asks=True))
        board.play(replace(PASSES, asks=True, probation="cut"))
        while load(board.folder).attempts < ATTEMPTS:
            board.play(replace(PASSES, probation="cut"))
        assert load(board.folder).in_progress
        board.within = within
        board.play(None)
        assert load(board.folder).state is UpdateState.ROLLED_BACK
    assert cut_short
    assert not any(cut_short)


@pytest.mark.parametrize("way", ["it does not start", "nobody can be told", "nothing can be stopped"])
def test_each_way_into_inconsistent_says_what_to_do_and_the_next_desired_state_leads_out(
    drawn_outcomes: list[World], way: str
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        first = way != "nothing can be stopped"
        if first:
            board.play(replace(PASSES, asks=True))
        board.service.fails = way != "it does not start"
        board.play(replace(PASSES, asks=True, probation="fails", returns=way != "it does not start"))
        board.service.fails = False
        record = load(board.folder)
        assert (record.state, record.code) == (UpdateState.INCONSISTENT, "update.inconsistent")
        assert "`edge flash TARGET RELEASE`" in (record.hint or "")
        assert board.folder.linked(board.folder.current) == (1 if first else None), (
            "it is tried at each start"
        )
        board.play(replace(PASSES, asks=True))
        assert load(board.folder).state is UpdateState.CONFIRMED


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_referenced_stays_and_everything_else_goes(
    drawn_outcomes: list[World], data: st.DataObject
) -> None:
    with world() as board:
        folder = board.folder
        runtimes = [runtime_object(folder, name) for name in "abcd"]
        bundles = [f"{number:064x}" for number in range(8)]
        for digest in bundles:
            put_object(folder, digest, b"{}")
        numbers = data.draw(st.lists(st.integers(1, 9), unique=True, max_size=6))
        wanted: dict[int, set[str]] = {}
        for number in numbers:
            chosen = data.draw(st.lists(st.sampled_from(bundles), unique=True, max_size=3))
            digest = data.draw(st.sampled_from(runtimes))
            models = tuple(GenerationModel(f"m{index}", "m@1", one) for index, one in enumerate(chosen))
            (folder.generation(number)).mkdir()
            (folder.generation(number) / "generation.json").write_bytes(
                encode(Generation(number, digest, models))
            )
            wanted[number] = {digest, digest[0] * 64, *chosen}
        there = st.sampled_from(numbers) if numbers else st.none()
        current, previous = data.draw(there | st.none()), data.draw(there | st.none())
        bootstrap = data.draw(st.sampled_from(runtimes) | st.none())
        if bootstrap is not None:
            folder.bootstrap.write_text(f"{bootstrap}\n")
        keep = data.draw(st.frozensets(st.sampled_from(bundles), max_size=2))
        broken = data.draw(st.sampled_from(["", "", "", "generation", "runtime"]))
        referenced = set(keep) | ({bootstrap, bootstrap[0] * 64} if bootstrap else set())
        for number in (current, previous):
            if number is not None:
                referenced |= wanted[number]
        if broken and current is not None:
            victim = folder.generation(current) / "generation.json"
            if broken == "runtime":
                victim = (
                    folder.object(next(one for one in runtimes if one in wanted[current])) / "manifest.json"
                )
            victim.write_bytes(b"{")
        before = {path.name for path in (*folder.objects.iterdir(), *folder.generations.iterdir())}
        board.turn = None
        machine = board.open()
        machine.journal.record = replace(machine.journal.record, current=current, previous=previous)
        machine.reclaim(keep=keep)
        after = {path.name for path in (*folder.objects.iterdir(), *folder.generations.iterdir())}
        if broken and current is not None:
            assert after == before, "where one reference can't be followed, nothing is known to be free"
        else:
            assert after == referenced | {str(number) for number in (current, previous) if number is not None}
