"""How a flash ended: what is a success, and which exit code says what it was not."""

from __future__ import annotations

import pytest

from agent.contract.errors import BoardDiskFull, ExitCode, InboxIncomplete, SignatureInvalid
from agent.contract.messages import Reported
from agent.contract.states import UpdateState
from edge.rollouts.outcome import FlashOutcome


def outcome(state: UpdateState, *, taken: bool = True, code: str | None = None) -> FlashOutcome:
    reported = Reported(device="b-1", counter=1, state=state, nonce="ab", wall=1, code=code)
    return FlashOutcome(
        device="pi", title="digits@1", changed=True, taken=taken, state=state, reported=reported
    )


@pytest.mark.parametrize("state", [UpdateState.CONFIRMED, UpdateState.FINALISED])
def test_what_runs_is_a_success(state: UpdateState) -> None:
    assert outcome(state).succeeded
    assert outcome(state).exit_code is ExitCode.DONE


@pytest.mark.parametrize(
    "state", [UpdateState.REFUSED, UpdateState.ROLLED_BACK, UpdateState.INCONSISTENT, UpdateState.NONE]
)
def test_a_trial_that_ended_otherwise_is_a_negative_verdict(state: UpdateState) -> None:
    assert outcome(state, code="agent.port-taken").exit_code is ExitCode.NEGATIVE_VERDICT


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (SignatureInvalid.code, ExitCode.NEGATIVE_VERDICT),
        (InboxIncomplete.code, ExitCode.INCOMPLETE),
        (BoardDiskFull.code, ExitCode.FAILED),
        ("from.the-future", ExitCode.NEGATIVE_VERDICT),
        (None, ExitCode.NEGATIVE_VERDICT),
    ],
)
def test_what_was_not_tried_has_the_exit_code_of_its_error(code: str | None, exit_code: ExitCode) -> None:
    found = outcome(UpdateState.REFUSED, taken=False, code=code)
    assert not found.succeeded
    assert found.exit_code is exit_code
