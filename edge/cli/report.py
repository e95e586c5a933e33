"""A board's signed report, for a person: what runs, since when, verified how; what was refused, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.contract.states import UpdateState
from edge.cli import output

if TYPE_CHECKING:
    from agent.contract.messages import CheckResult, Reported
    from edge.inventory import Device
    from edge.rollouts.boards import BoardState

BAD = {UpdateState.REFUSED, UpdateState.ROLLED_BACK, UpdateState.INCONSISTENT}


def show_report(device: Device, state: BoardState) -> None:
    """Print the report as a list of facts on stdout."""
    reported = state.reported
    rows = [
        ("device", f"{device.name}, {device.address}, profile {device.profile or 'not probed'}"),
        (
            "identity",
            f"{device.device_id}, serial {device.serial or 'unknown'}"
            + ("; its report is signed by its own key" if reported else ""),
        ),
    ]
    if reported is None:
        rows.append(
            ("runs", f"nothing that this fleet knows of: flash it with `edge flash {device.name} RELEASE`")
        )
    else:
        rows += _running(reported)
        rows += _last(reported)
    if state.agent is not None:
        ready = "ready" if state.agent.ready else "not ready"
        rows.append(
            (
                "agent",
                f"{ready}, port {state.agent.port}, generation {state.agent.generation}, "
                f"started {output.ago(int(state.agent.started))}",
            )
        )
    output.facts(rows)
    if reported is not None and reported.history:
        click.echo()
        output.table(
            ("#", "asked for", "ended", "when", "why"),
            [
                (str(h.counter), h.title, h.state.value, output.ago(h.at), h.message or "")
                for h in reported.history
            ],
            right=(0,),
        )


def _running(reported: Reported) -> list[tuple[str, str]]:
    rows = []
    if reported.current is None:
        rows.append(("runs", "nothing yet"))
    else:
        rows.append(
            (
                "runs",
                f"{reported.current.title} (generation {reported.current.number}) since {output.ago(reported.since)}",
            )
        )
        rows.append(("verified", reported.verified or "–"))
    if reported.previous is not None:
        rows.append(
            (
                "before",
                f"{reported.previous.title} (generation {reported.previous.number}), kept for `edge flash --previous`",
            )
        )
    if reported.trial is not None:
        rows.append(
            ("trial", f"{reported.trial.title}, attempt {reported.attempts} of {reported.max_attempts}")
        )
    rows.append(("disk", f"{output.size(reported.disk_free_bytes)} free"))
    return rows


def _last(reported: Reported) -> list[tuple[str, str]]:
    rows = [("update", f"{reported.state.value}, desired state {reported.counter}")]
    if reported.code:
        rows.append(("why", f"{reported.message} [{reported.code}]"))
        if reported.hint:
            rows.append(("hint", reported.hint))
    rows += [("measured", check_line(check)) for check in reported.checks]
    return rows


def check_line(check: CheckResult) -> str:
    """One trial's numbers in a line."""
    parts = [f"{check.release}:"]
    if check.agreement is not None and check.floor is not None:
        parts.append(f"agrees {check.agreement:.1%} (at least {check.floor:.1%}),")
    if check.proof_within is not None:
        parts.append(f"like its proof run {check.proof_within:.1%},")
    if check.p95_ms is not None:
        budget = f" of {check.budget_p95_ms:.2f}" if check.budget_p95_ms is not None else ""
        parts.append(f"p95 {check.p95_ms:.2f}{budget} ms CPU,")
    if check.memory_mb is not None:
        budget = f" of {check.budget_memory_mb:.0f}" if check.budget_memory_mb is not None else ""
        parts.append(f"{check.memory_mb:.1f}{budget} MB")
    return " ".join(parts).rstrip(",")
