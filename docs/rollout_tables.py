"""Tables of `rollouts.md`, from the states of a rollout and of its boards."""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
from collections.abc import Mapping
from typing import TypeVar

from edge.rollouts.state import END_STATES, STEPS, TRANSITIONS, MemberState, RolloutEvent, RolloutState

S = TypeVar("S", RolloutState, MemberState)


def rollout_states_table() -> str:
    """One row a state of a rollout."""
    words = meanings(RolloutState)
    rows = ["| state | what it means | what may come |", "|---|---|---|"]
    for state in RolloutState:
        name = f"**{state.value}**" if state in END_STATES else state.value
        rows.append(f"| {name} | {words[state.name]} | {_following(state, TRANSITIONS)} |")
    return "\n".join(rows)


def member_states_table() -> str:
    """One row a state of a board."""
    words = meanings(MemberState)
    rows = ["| board | what it means | what may come |", "|---|---|---|"]
    for state in MemberState:
        rows.append(f"| {state.value} | {words[state.name]} | {_following(state, STEPS)} |")
    return "\n".join(rows)


def meanings(kind: type[enum.Enum]) -> dict[str, str]:
    """Member to the sentence behind it in the code, without its full stop."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for node, behind in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.Assign) and isinstance(behind, ast.Expr):
            assert isinstance(node.targets[0], ast.Name)
            assert isinstance(behind.value, ast.Constant)
            found[node.targets[0].id] = " ".join(str(behind.value.value).split()).rstrip(".")
    return found


def _following(state: S, table: Mapping[tuple[S, RolloutEvent], S]) -> str:
    return ", ".join(
        f"{event.value} → {after.value}" for (before, event), after in table.items() if before is state
    )
