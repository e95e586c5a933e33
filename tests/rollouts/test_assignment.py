"""What a board is asked for: a counter that grows, and the same word again where it was not carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.messages import HistoryEntry, Reported
from agent.contract.release import Generation, TrialTerms
from agent.contract.states import UpdateState
from edge.rollouts.assignment import assign, finished, patience_s
from edge.rollouts.workspace import Workspace
from tests.repository.fleet import Fleet, make_fleet, passphrase

DEVICE = "b-0011223344556677"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return make_fleet(tmp_path_factory.mktemp("assignment"))


@pytest.fixture
def workspace(fleet: Fleet, tmp_path: Path) -> Workspace:
    return Workspace(replace(fleet.folder), passphrase)


def content(fleet: Fleet) -> Generation:
    return fleet.desired(DEVICE).generation


def reported(counter: int, state: UpdateState) -> Reported:
    return Reported(device=DEVICE, counter=counter, state=state, nonce="ab", wall=1)


def test_from_the_first_word_to_a_trial_anew(workspace: Workspace, fleet: Fleet) -> None:
    first = assign(workspace, DEVICE, content(fleet), None)
    assert (first.counter, first.generation.number) == (1, 1)
    assert first.fleet == workspace.folder.config.fleet

    assert assign(workspace, DEVICE, content(fleet), None) == first, "a cut flash goes on"
    under_way = reported(1, UpdateState.PROBATION)
    assert assign(workspace, DEVICE, content(fleet), under_way) == first, "it is being carried out"

    refused = reported(1, UpdateState.REFUSED)
    second = assign(workspace, DEVICE, content(fleet), refused)
    assert second.counter == 2, "a new counter is a new trial"
    assert second.nonce != first.nonce

    ahead = reported(40, UpdateState.CONFIRMED)
    assert assign(workspace, DEVICE, content(fleet), ahead).counter == 41, "the board knows better"


def test_an_earlier_rollout_is_finished_when_something_else_is_asked_for(
    workspace: Workspace, fleet: Fleet
) -> None:
    runs = replace(content(fleet), number=7)
    other = replace(runs, runtime="0" * 64)
    confirmed = replace(reported(7, UpdateState.CONFIRMED), current=runs)
    assert finished(confirmed, other) == 7
    assert assign(workspace, "b-00000000000000aa", content(fleet), None).finalise == 0
    assert finished(replace(confirmed, state=UpdateState.PROBATION, counter=8), other) == 0, (
        "not while it tries"
    )
    assert finished(confirmed, runs) == 0, "the same again finishes nothing"
    assert finished(reported(7, UpdateState.REFUSED), other) == 0, "it runs nothing"


def test_a_number_that_a_board_runs_is_not_given_again_after_its_trust_was_reset(
    workspace: Workspace, fleet: Fleet
) -> None:
    anew = replace(reported(0, UpdateState.NONE), current=replace(content(fleet), number=7, runtime="0" * 64))
    assert assign(workspace, "b-00000000000000bb", content(fleet), anew).counter == 8


def test_what_was_refused_is_tried_anew_after_the_keys_of_desired_states_changed(
    workspace: Workspace, fleet: Fleet
) -> None:
    """The board's counter begins anew then, and it refuses the same desired state once more."""
    refused = assign(workspace, "b-00000000000000cc", content(fleet), None)
    end = HistoryEntry(counter=refused.counter, title="digits@1", state=UpdateState.REFUSED, at=1)
    anew = replace(reported(0, UpdateState.REFUSED), history=(end,))
    assert assign(workspace, "b-00000000000000cc", content(fleet), anew).counter == refused.counter + 1


def test_the_terms_are_those_of_the_folder(workspace: Workspace, fleet: Fleet) -> None:
    settings = replace(workspace.folder.config, probation_s=3.0, check_timeout_s=20.0, start_timeout_s=7.0)
    patient = Workspace(replace(workspace.folder, config=settings), passphrase)
    terms = assign(patient, "b-ffffffffffffffff", content(fleet), None).terms
    assert (terms.probation_s, terms.check_timeout_s, terms.start_timeout_s) == (3.0, 20.0, 7.0)


def test_patience_covers_every_attempt() -> None:
    terms = TrialTerms(probation_s=10, check_timeout_s=300, start_timeout_s=120, max_attempts=3)
    assert patience_s(terms) > 3 * (10 + 300 + 120)
    assert patience_s(replace(terms, max_attempts=1)) == patience_s(terms) / 3
