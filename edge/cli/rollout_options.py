"""What can be said of a rollout's plan: the options of `edge rollout plan` and `edge rollout start`.

The rule: conditions are handed on as texts, and one place reads them (`edge.rollouts.conditions`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edge.rollouts.planning import RolloutRequest

F = TypeVar("F", bound=Callable[..., Any])
CONDITIONS = {
    "--dwell": ("dwell_s", "SECONDS", "How long each wave is watched.", "300"),
    "--min-requests": ("min_requests", "N", "Requests the release must have answered in a wave.", "50"),
    "--min-boards": ("min_boards", "N|P%", "Boards of a wave that must run it.", "1"),
    "--max-failed": ("max_failed", "N|P%", "Boards of a wave that may refuse it or roll it back.", "0"),
    "--max-unreachable": ("max_unreachable", "N|P%", "Boards of a wave that may stay out of reach.", "0"),
    "--max-silent": ("max_silent", "N|P%", "Boards of a wave that may fall silent.", "0"),
    "--silence": ("silence_s", "SECONDS", "When a board counts as silent.", "120"),
    "--max-slowdown": ("max_slowdown", "RATIO", "Compute time against boards without it.", "1.15"),
    "--max-error-increase": ("max_error_increase", "PART", "By which errors may grow, 0 to 1.", "0.005"),
}
"""Option to its condition, what it takes, what it means, and its default as `edge.rollouts.conditions` has it."""


def plan_options(command: F) -> F:
    """The options that make a plan."""
    for option, (name, metavar, text, usual) in reversed(CONDITIONS.items()):
        command = click.option(option, name, metavar=metavar, help=f"{text}  [default: {usual}]")(command)
    for decorate in (
        click.option(
            "--hold",
            "hold_s",
            metavar="SECONDS",
            help="How long the gate may hold beyond the dwell; then the rollout pauses.  [default: 3600]",
        ),
        click.option(
            "--reach",
            "reach_s",
            metavar="SECONDS",
            help="How long a board that can't be reached is tried again.  [default: 600]",
        ),
        click.option(
            "--waves",
            default="1,10%,50%,100%",
            show_default=True,
            metavar="LIST",
            help="Counts and percentages of boards that have it when a wave is done, profiles, or patterns of names.",
        ),
        click.option(
            "--group",
            "groups",
            multiple=True,
            help="A profile, or a pattern of names like 'lab-*'; repeatable.",
        ),
        click.option("--device", "devices", multiple=True, help="A board; repeatable. Default: all boards."),
        click.argument("release"),
    ):
        command = decorate(command)
    return command


def request_of(
    release: str,
    devices: tuple[str, ...],
    groups: tuple[str, ...],
    waves: str,
    reach_s: str | None,
    hold_s: str | None,
    **conditions: str | None,
) -> RolloutRequest:
    """What the options of `plan_options` ask for."""
    from edge.rollouts.conditions import read_patience
    from edge.rollouts.planning import RolloutRequest

    return RolloutRequest(
        release=release,
        devices=devices,
        groups=groups,
        waves=waves,
        conditions=_given(**conditions),
        patience=read_patience(_given(reach_s=reach_s, hold_s=hold_s)),
    )


def _given(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}
