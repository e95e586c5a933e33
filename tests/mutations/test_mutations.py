"""The list of mutations fits the code; in `make test-all` each of them is tried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mutations.mutations import MUTATIONS, Mutation
from tests.mutations.running import Outcome, tried, unfit

AT_LEAST = 15


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_what_is_to_be_taken_away_is_there_and_so_is_the_test(mutation: Mutation) -> None:
    assert unfit(mutation) is None


def test_there_are_enough_and_no_two_are_the_same() -> None:
    assert len({(one.file, one.before, one.after) for one in MUTATIONS}) == len(MUTATIONS) >= AT_LEAST


def test_a_change_that_breaks_nothing_survives_and_a_wrong_list_is_unfit() -> None:
    harmless = Mutation(
        name="a comment",
        file="agent/contract/names.py",
        before="from __future__ import annotations\n",
        after="from __future__ import annotations\n\n# nothing\n",
        test="tests/contract/test_names_and_topics.py::test_bad_names",
    )
    wrong = replace(harmless, before="what is nowhere")
    outcomes = [result.outcome for result in tried([harmless, wrong])]
    assert outcomes == [Outcome.SURVIVED, Outcome.UNFIT]


@pytest.mark.bed
@pytest.mark.timeout(3000)
def test_each_safeguard_that_is_taken_away_makes_its_test_fail() -> None:
    survived = [result for result in tried(MUTATIONS) if result.outcome is not Outcome.KILLED]
    assert not survived, "\n\n".join(f"{r.mutation.name}: {r.outcome.value}\n{r.talk}" for r in survived)
