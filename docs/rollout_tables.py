"""Tables of `rollouts.md`, from the states of a rollout and of its boards."""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
from collections.abc import Mapping
from typing import TypeVar

from agent.contract.release import TrialTerms
from edge.fleet.timeouts import Timeouts
from edge.rollouts.assignment import patience_s
from edge.rollouts.conditions import Conditions
from edge.rollouts.errand import LONGEST_VISIT
from edge.rollouts.plan import Patience
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


def deadlines_table() -> str:
    """One row a phase: how long it may take where nothing else is said, and what comes then."""
    ssh, terms, patience, conditions = Timeouts(), TrialTerms(), Patience(), Conditions()
    again = "tried again, with growing pauses, until the board counts as *not reached*"
    phases = [
        ("look-up and TCP connection", f"{ssh.connect_s:g} s", again),
        ("SSH greeting and keys", f"{ssh.handshake_s:g} s", again),
        ("logging in", f"{ssh.auth_s:g} s", "*not reached*"),
        ("a command on the board", f"{ssh.command_s:g} s", again),
        (
            "upload",
            f"{ssh.stall_s:g} s in which no byte came through; on the whole {ssh.slowest_bytes_s / 1000:g} kB a second",
            f"{again}; what is there is not sent again",
        ),
        (
            "the board's work: verify, check, probation, all attempts",
            f"{patience_s(terms):g} s; each attempt of {terms.max_attempts} has {terms.check_timeout_s:g} s for the "
            f"check, {terms.start_timeout_s:g} s to start, {terms.probation_s:g} s of probation",
            "the board ends by its own deadlines; the laptop asks again, and takes what it says over MQTT too",
        ),
        (
            "a board that can't be reached",
            f"`--reach` {patience.reach_s:g} s without a word from it; {LONGEST_VISIT} times that in all",
            "*not reached*, which counts against `--max-unreachable` alone; `resume` takes it up again",
        ),
        (
            "silence of a board that could be heard",
            f"`--silence` {conditions.silence_s:g} s",
            "counts against `--max-silent`; beyond it the rollout is halted",
        ),
        (
            "a board that confirmed and then has no way to it",
            f"`--silence` {conditions.silence_s:g} s",
            "counts against `--max-unreachable`; beyond it the gate holds, and names it",
        ),
        ("dwell", f"`--dwell` {conditions.dwell_s:g} s", "the gate may let the next wave go"),
        (
            "hold",
            f"`--hold` {patience.hold_s:g} s beyond the dwell",
            "the command ends with exit code 4, the rollout is paused, and the reason names what is missing and which "
            "boards hold it; `resume`, `promote` or `abort`",
        ),
    ]
    rows = ["| phase | how long | then |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| {phase} | {limit} | {then} |" for phase, limit, then in phases)])


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
