"""Rollouts."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class RolloutError(EdgeError):
    """A rollout can't be planned, begun or carried on."""

    exit_code = ExitCode.USAGE


class PlanInvalid(RolloutError):
    code = "rollout.plan-invalid"
    template = "`{what}` can't be part of a rollout: {reason}"


class RolloutUnknown(RolloutError):
    code = "rollout.unknown"
    template = "there is no rollout `{rollout}` in this fleet{suggestion}"
    hint_template = "list them with `edge rollout history`"


class NoRollout(RolloutError):
    code = "rollout.none"
    template = "there is no rollout in this fleet yet"
    hint_template = "begin one with `edge rollout start`"


class RolloutOpen(RolloutError):
    code = "rollout.open"
    template = "the rollout `{rollout}` has not ended: {state}"
    hint_template = "`edge rollout resume` goes on, `edge rollout abort` ends it"


class RolloutEnded(RolloutError):
    code = "rollout.ended"
    template = "the rollout `{rollout}` is {state}: it can neither go on nor be stopped"


class RolloutBusy(RolloutError):
    code = "rollout.busy"
    template = "another command is at work on the rollout `{rollout}`"
    hint_template = "look on with `edge rollout watch`"
    exit_code = ExitCode.FAILED


class JournalDamaged(RolloutError):
    code = "rollout.journal-damaged"
    template = "the journal `{path}` is damaged at line {line}: {reason}"
    hint_template = (
        "nothing is done by a journal that can't be believed; boards keep what they run: see docs/rollouts.md"
    )
    exit_code = ExitCode.FAILED
