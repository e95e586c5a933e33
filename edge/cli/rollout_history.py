"""One rollout from its beginning to its end: what happened, what became of each board, and the numbers that decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.said import Row, measured
from edge.cli import output

if TYPE_CHECKING:
    from edge.rollouts.fold import Rollout
    from edge.rollouts.history import BoardHistory, Turn

SIGNS = {
    "updated": "good", "unchanged": "good", "back": "good", "failed": "bad", "left": "bad", "asked": "doubt",
    "going-back": "doubt", "halt": "bad", "finish": "good", "pause": "doubt", "abort": "doubt", "take-back": "doubt",
}  # fmt: skip
"""Of states and events; the others need nobody."""


def show_history(rollout: Rollout, turns: Sequence[Turn], boards: Sequence[BoardHistory]) -> None:
    """Print it on stdout."""
    plan = rollout.plan
    output.rows(
        None,
        [
            Row(
                "rollout",
                f"{plan.rollout}: {plan.release}; boards: {len(plan.members)}, waves: {len(plan.waves)}",
            ),
            Row("state", rollout.state.value, "" if rollout.is_open else _of_end(rollout)),
            Row("begun", output.ago(int(rollout.begun))),
            Row("last", output.ago(int(rollout.since))),
        ],
    )
    output.rows("what happened", [_turn(turn) for turn in turns])
    for board in boards:
        output.rows(f"{board.device} (wave {board.wave})", _board(board))


def history_document(
    status: dict[str, Any], turns: Sequence[Turn], boards: Sequence[BoardHistory]
) -> dict[str, Any]:
    """For `--json`: the status, with what happened, and more of each board."""
    return {**status, "turns": list(turns), "boards": list(boards)}


def _of_end(rollout: Rollout) -> str:
    return {"done": "good", "halted": "bad"}.get(rollout.state.value, "doubt")


def _turn(turn: Turn) -> Row:
    why = f": {turn.reason.message}" if turn.reason and turn.reason.message else ""
    return Row(turn.event.value, f"{output.ago(int(turn.at))}{why}", SIGNS.get(turn.event.value, ""))


def _board(board: BoardHistory) -> list[Row]:
    state = f"{board.state.value}, not reached" if board.unreached else board.state.value
    when = f", {output.ago(int(board.at))}" if board.at else ""
    sign = "doubt" if board.unreached else SIGNS.get(board.state.value, "")
    found = [Row("state", f"{state}{when}", sign)]
    if board.wanted is not None:
        change = f"{board.before or 'nothing'} → {board.wanted} (desired state {board.counter})"
        found.append(Row("asked", change))
    if board.reason is not None and board.reason.message:
        code = f" [{board.reason.code}]" if board.reason.code else ""
        found.append(Row("why", f"{board.reason.message}{code}", sign))
    ended = board.ended
    if ended is None:
        return found
    if ended.max_attempts:
        found.append(Row("attempts", f"{ended.attempts} of {ended.max_attempts}"))
    if ended.hint:
        found.append(Row("do", ended.hint))
    return found + [Row("measured", measured(check), "" if check.passed else "bad") for check in ended.checks]
