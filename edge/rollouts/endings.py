"""What the end of a command that worked on a rollout means: its exit code."""

from __future__ import annotations

from agent.contract.errors import ExitCode
from edge.rollouts.fold import Rollout
from edge.rollouts.state import MemberState, RolloutState


def exit_code(rollout: Rollout) -> ExitCode:
    """Done, a negative verdict, or incomplete: paused, aborted, or a board was not reached."""
    left = any(member.state is MemberState.LEFT for member in rollout.members.values())
    match rollout.state:
        case RolloutState.HALTED | RolloutState.HALTING:
            return ExitCode.NEGATIVE_VERDICT
        case RolloutState.DONE:
            return ExitCode.INCOMPLETE if rollout.unreached else ExitCode.DONE
        case RolloutState.TAKEN_BACK if left:
            return ExitCode.FAILED
        case RolloutState.TAKEN_BACK:
            return ExitCode.INCOMPLETE if rollout.unreached else ExitCode.DONE
    return ExitCode.INCOMPLETE
