"""What a rollout's journal says, in lines and tables for people, and as plain values for scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent.contract.codec import to_plain
from edge.cli import output

if TYPE_CHECKING:
    from edge.rollouts.entries import Entry, Reason
    from edge.rollouts.fold import MemberNow, Rollout
    from edge.rollouts.planning import Draft


def show_entry(entry: Entry, rollout: Rollout) -> None:
    """One line on stderr for one change of state."""
    sign, text = line_of(entry, rollout)
    output.line(sign, text)


def show_line(entry: Entry) -> None:
    """One line of JSON on stdout for one change of state."""
    click.echo(json.dumps(to_plain(entry), ensure_ascii=False))


def line_of(entry: Entry, rollout: Rollout) -> tuple[str, str]:
    """A sign (`edge.cli.output.SIGNS`) and a sentence."""
    from edge.rollouts.state import BOARD_EVENTS

    if entry.event in BOARD_EVENTS:
        return _board_line(entry, rollout)
    return _rollout_line(entry, rollout)


def _board_line(entry: Entry, rollout: Rollout) -> tuple[str, str]:
    from edge.rollouts.state import RolloutEvent as Event

    name, release = entry.device, rollout.plan.release
    why = _why(entry.reason)
    asked = entry.asked
    before = asked.before.title if asked and asked.before else "nothing"
    content = asked.content.title if asked else release
    lines = {
        Event.ASKED: ("note", f"{name} is asked to run {content} instead of {before}"),
        Event.UPDATED: ("good", f"{name} confirmed {release}"),
        Event.UNCHANGED: ("good", f"{name} ran {release} already"),
        Event.FAILED: ("bad", f"{name} does not run {release}{why}"),
        Event.UNREACHED: ("doubt", f"{name} was not reached{why}"),
        Event.ASKED_BACK: (
            "note",
            f"{name} is asked to go back to {asked.content.title if asked else 'what it ran before'}",
        ),
        Event.BACK: ("good", f"{name} is back on {_before(rollout.members[name or ''])}"),
        Event.LEFT: ("bad", f"{name} was left as it is{why}"),
    }
    return lines[entry.event]


def _rollout_line(entry: Entry, rollout: Rollout) -> tuple[str, str]:
    from edge.rollouts.state import RolloutEvent as Event

    plan, why = rollout.plan, _why(entry.reason)
    wave = f"wave {rollout.wave + 1} of {len(plan.waves)}"
    boards = ", ".join(member.device for member in rollout.current_wave.members)
    lines = {
        Event.PLAN: ("note", f"{plan.rollout}: {plan.release} to {len(plan.members)} boards"),
        Event.BEGIN: ("note", f"{wave}: {boards}"),
        Event.SETTLE: ("note", f"{wave}: its boards have ended and are watched now"),
        Event.HOLD: ("note", f"{wave}: the gate wants to see more{why}"),
        Event.ADVANCE: ("good", f"the gate lets it go on{why}; {wave}: {boards}"),
        Event.FINISH: ("good", f"{plan.rollout} is done{why}"),
        Event.PAUSE: ("doubt", f"{plan.rollout} is paused{why}"),
        Event.RESUME: ("note", f"{plan.rollout} goes on"),
        Event.HALT: ("bad", f"halted{why}"),
        Event.ABORT: ("doubt", f"{plan.rollout} is aborted; boards keep what they run"),
        Event.TAKE_BACK: ("note", f"{plan.release} is taken back"),
        Event.ENDED: ("note", f"{plan.rollout} is {rollout.state.value}; {_keepers(rollout)}"),
    }
    return lines[entry.event]


def show_status(rollout: Rollout, *, at_work: bool) -> None:
    """Where a rollout stands, on stdout."""
    plan = rollout.plan
    working = "a command is at work on it" if at_work else "nobody is at work on it"
    output.facts(
        [
            ("rollout", f"{plan.rollout}: {plan.release}"),
            ("state", f"{rollout.state.value}; {working}" if rollout.is_open else rollout.state.value),
            ("wave", f"{rollout.wave + 1} of {len(plan.waves)}"),
            ("begun", output.ago(int(rollout.begun))),
            *([("why", rollout.reason.message)] if rollout.reason and rollout.reason.message else []),
        ]
    )
    rows = [
        (str(number), member.device, _state(rollout.members[member.device]), _reason(rollout, member.device))
        for number, wave in enumerate(plan.waves, start=1)
        for member in wave.members
    ]
    output.table(("wave", "device", "state", ""), rows, right=(0,))


def show_numbers(reason: Reason | None) -> None:
    """The numbers that decided, on stdout."""
    checks = reason.numbers if reason is not None else ()
    rows = [
        (
            str(check["name"]),
            str(check["verdict"]),
            _number(check.get("value")),
            _number(check.get("threshold")),
            str(check.get("n", "")),
            str(check.get("profile") or ""),
        )
        for check in checks
    ]
    if rows:
        headers = ("check", "verdict", "measured", "threshold", "of", "profile")
        output.table(headers, rows, right=(2, 3, 4))


def show_draft(draft: Draft, runs: dict[str, str]) -> None:
    """A plan that was not begun, on stdout.

    Args:
        draft: the plan and who does not take part.
        runs: device to what it runs, as far as it is known.
    """
    plan = draft.plan
    patience = plan.patience
    output.facts(
        [
            ("rollout", f"{plan.rollout}: {plan.release}"),
            ("gate", ", ".join(f"{name} {text}" for name, text in plan.conditions.items())),
            ("patience", f"{patience.reach_s:g} s for a board, {patience.hold_s:g} s for the gate"),
        ]
    )
    rows = [
        (str(number), wave.rule, member.device, member.profile, runs[member.device], member.bundle[:12])
        for number, wave in enumerate(plan.waves, start=1)
        for member in wave.members
    ]
    output.table(("wave", "up to", "device", "profile", "runs", "gets bundle"), rows, right=(0,))
    for one in draft.left_out:
        output.line("doubt", f"{one.device} does not take part: {one.reason}")
    for name in draft.busy:
        output.line("doubt", f"{name} is busy: another command is at work on it now")
    if draft.in_no_wave:
        output.line("note", f"in no wave, and compared with: {', '.join(draft.in_no_wave)}")


def status_document(rollout: Rollout, *, at_work: bool) -> dict[str, Any]:
    """For `--json`."""
    return {
        "rollout": rollout.plan.rollout,
        "release": rollout.plan.release,
        "state": rollout.state,
        "open": rollout.is_open,
        "at_work": at_work,
        "wave": rollout.wave + 1,
        "waves": len(rollout.plan.waves),
        "begun": rollout.begun,
        "since": rollout.since,
        "reason": rollout.reason,
        "boards": [
            {
                "device": member.device,
                "wave": number,
                "state": rollout.members[member.device].state,
                "unreached": rollout.members[member.device].unreached,
                "reason": rollout.members[member.device].reason,
            }
            for number, wave in enumerate(rollout.plan.waves, start=1)
            for member in wave.members
        ],
    }


def _why(reason: Reason | None) -> str:
    if reason is None or not reason.message:
        return ""
    code = f" [{reason.code}]" if reason.code and not reason.numbers else ""
    return f": {reason.message}{code}"


def _state(member: MemberNow) -> str:
    return f"{member.state.value}, not reached" if member.unreached else member.state.value


def _reason(rollout: Rollout, name: str) -> str:
    reason = rollout.members[name].reason
    return reason.message if reason is not None else ""


def _before(member: MemberNow) -> str:
    before = member.asked.before if member.asked else None
    return before.title if before else "nothing"


def _keepers(rollout: Rollout) -> str:
    """Who has the release still, as far as this rollout knows."""
    from edge.rollouts.state import HAS_RELEASE, MemberState

    words = {
        **dict.fromkeys(HAS_RELEASE, f"may run {rollout.plan.release}"),
        MemberState.UNCHANGED: f"ran {rollout.plan.release} before",
        MemberState.LEFT: "left as it is",
    }
    kept: dict[str, list[str]] = {}
    for name, member in rollout.members.items():
        if member.state in words:
            kept.setdefault(words[member.state], []).append(name)
    told = [f"{', '.join(names)}: {word}" for word, names in kept.items()]
    return "; ".join(told) or "no board of it runs the release"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
