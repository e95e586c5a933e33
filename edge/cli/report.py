"""A board's signed report, for a person: what runs, since when, verified how; what was refused, and why.

The rule: the rows are the board's own (`agent.contract.said`); added is only what the laptop knows: where the board
is, whether its agent answers, and how its keys stand beside this folder's repository.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from agent.contract.said import Row, ended, rows
from edge.cli import output

if TYPE_CHECKING:
    from agent.contract.board import RunningAgent
    from edge.inventory import Device
    from edge.rollouts.boards import BoardState
    from edge.rollouts.trusted import Standing

SHOWN = 5
"""So many ends, without their numbers."""
WORDS = {
    "same": ("the board knows this folder's newest metadata", ""),
    "ahead": ("this folder has newer metadata than the board was shown; the next push brings it", ""),
    "behind": (
        "this folder is older than what the board knows: an old copy, or another one at work. Take the newest one, or "
        "`edge key restore`",
        "bad",
    ),
    "other": (
        "the board trusts other keys than this folder holds: they were changed after this copy was made. Take the "
        "newest folder; where its keys are lost: `edge flash TARGET RELEASE --reset-trust`",
        "bad",
    ),
}


def show_report(device: Device, state: BoardState, standing: Standing | None = None) -> None:
    """Print the report in parts, on stdout; a board that was not reached is said to be so first."""
    now = int(time.time())
    output.rows(None, _head(device, state))
    reported = state.reported
    if reported is None:
        bare = f"nothing that this fleet knows of: flash it with `edge flash {device.name} RELEASE`"
        output.rows("what runs", [Row("runs", bare, "doubt")])
        return
    parts = rows(reported, now)
    parts["what runs"] += _agent(state)
    if standing is not None:
        text, sign = WORDS[standing.word]
        parts["the board"] += (Row("folder", f"{text}{standing.differences}", sign),)
    for title, part in parts.items():
        output.rows(title, part)
    if reported.history:
        newest = [row for entry in reported.history[:SHOWN] for row in ended(entry, now)]
        output.rows("history", [row for row in newest if row.name not in ("attempts", "do", "measured")])
        click.echo(
            f"  {'all':10}  {len(reported.history)}, with their numbers: `edge device history {device.name}`"
        )


def show_history(state: BoardState) -> None:
    """Print how each desired state that the board remembers ended, the newest first."""
    now = int(time.time())
    entries = state.reported.history if state.reported is not None else ()
    if not entries:
        click.echo("nothing has ended on this board yet")
    for entry in entries:
        output.rows(None, ended(entry, now))


def _head(device: Device, state: BoardState) -> list[Row]:
    found = [
        Row("device", f"{device.name}, {device.address}, profile {device.profile or 'not probed'}"),
        Row("identity", f"{device.device_id}, serial {device.serial or 'unknown'}"),
    ]
    if state.reported is not None and state.unreached is not None:
        heard = f", heard {output.ago(state.heard_at)}" if state.heard_at else ""
        found.append(Row("report", f"the last known{heard}, signed by its own key", "doubt"))
        found.append(Row("now", f"{state.unreached} [{state.unreached.code}]", "doubt"))
    elif state.reported is not None:
        found.append(Row("report", "of now, signed by its own key", "good"))
    return found


def _agent(state: BoardState) -> tuple[Row, ...]:
    agent = state.agent
    if state.unreached is not None:
        return ()
    if agent is None or not state.alive:
        return (Row("agent", "does not run", "bad"),)
    text = f"port {agent.port}, generation {agent.generation}, started {output.ago(int(agent.started))}"
    return (
        Row(
            "agent", f"{'ready' if agent.ready else 'not ready'}, {text}", "good" if agent.ready else "doubt"
        ),
        *_door(agent),
    )


def _door(agent: RunningAgent) -> tuple[Row, ...]:
    door = agent.door
    if door is None:
        return ()
    where = f"{door.address} port {door.port}, tokens: {', '.join(door.tokens)}"
    if door.error is not None:
        return (Row("door", f"{door.error.get('message')} ({where})", "bad"),)
    return (Row("door", f"open on {where}", "good"),)
