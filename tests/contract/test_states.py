"""The one table of what may follow what."""

from __future__ import annotations

import pytest

from agent.contract.errors import DocumentInvalid
from agent.contract.states import END_STATES, TRANSITIONS, UpdateEvent, UpdateState, advance

IN_PROGRESS = {state for pair in TRANSITIONS for state in (pair[0], TRANSITIONS[pair])} - END_STATES
OUT_OF_AN_END = {UpdateEvent.STAGE, UpdateEvent.FINALISE, UpdateEvent.ROLLBACK_FAILED}


def test_the_states_in_progress_are_these() -> None:
    assert {UpdateState.STAGED, UpdateState.CHECKING, UpdateState.PROBATION} == IN_PROGRESS
    assert {*IN_PROGRESS, *END_STATES, UpdateState.UNKNOWN} == set(UpdateState)


def test_an_end_is_left_by_a_new_desired_state_or_by_being_settled() -> None:
    for (state, event), after in TRANSITIONS.items():
        if state in END_STATES:
            assert event in OUT_OF_AN_END
            assert (after in END_STATES) == (event is not UpdateEvent.STAGE)


def test_every_end_takes_a_new_desired_state() -> None:
    for state in END_STATES:
        assert advance(state, UpdateEvent.STAGE) is UpdateState.STAGED


@pytest.mark.parametrize("state", sorted(IN_PROGRESS))
def test_whatever_is_in_progress_can_be_interrupted_given_up_and_superseded(state: UpdateState) -> None:
    assert advance(state, UpdateEvent.INTERRUPTED) in IN_PROGRESS
    assert advance(state, UpdateEvent.ATTEMPTS_EXHAUSTED) in END_STATES
    assert advance(state, UpdateEvent.SUPERSEDED) in END_STATES


def test_nothing_is_confirmed_that_was_not_checked_and_on_probation() -> None:
    assert [pair for pair, after in TRANSITIONS.items() if after is UpdateState.CONFIRMED] == [
        (UpdateState.PROBATION, UpdateEvent.PROBATION_PASSED)
    ]
    assert {pair[0] for pair, after in TRANSITIONS.items() if after is UpdateState.PROBATION} == {
        UpdateState.CHECKING,
        UpdateState.PROBATION,
    }


def test_what_never_served_is_refused_and_what_served_is_rolled_back() -> None:
    for (state, _), after in TRANSITIONS.items():
        if after is UpdateState.REFUSED:
            assert state in (UpdateState.STAGED, UpdateState.CHECKING)
        if after is UpdateState.ROLLED_BACK:
            assert state is UpdateState.PROBATION


def test_from_everywhere_an_end_is_reached() -> None:
    for begin in IN_PROGRESS:
        reached, todo = {begin}, [begin]
        while todo:
            state = todo.pop()
            for (source, _), after in TRANSITIONS.items():
                if source is state and state in IN_PROGRESS and after not in reached:
                    reached.add(after)
                    todo.append(after)
        assert UpdateState.CONFIRMED in reached
        assert {UpdateState.REFUSED, UpdateState.ROLLED_BACK} & reached


def test_what_is_not_in_the_table_is_refused() -> None:
    for state in UpdateState:
        for event in UpdateEvent:
            if (state, event) in TRANSITIONS:
                assert advance(state, event) is TRANSITIONS[state, event]
            else:
                with pytest.raises(DocumentInvalid, match=f"{event.value} can't happen in {state.value}"):
                    advance(state, event)


def test_a_state_of_a_newer_version_moves_nowhere() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is UpdateState.UNKNOWN]
    assert UpdateState.UNKNOWN not in TRANSITIONS.values()
