"""Passwords of boards: asked for on a terminal or taken from the environment, never an argument, never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from agent.contract.errors import OptionInvalid
from edge.cli import output
from edge.cli.environment import secret

SUDO_VARIABLE = "EDGE_SUDO_PASSWORD"
LOGIN_VARIABLE = "EDGE_LOGIN_PASSWORD"


def sudo_password_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--ask-sudo-password`."""
    return click.option(
        "--ask-sudo-password",
        "sudo_password",
        is_flag=True,
        help="Ask for the board's sudo password (needed once, at the first flash and the wipe).",
    )(command)


def ask_sudo_password(device: str) -> str:
    """The sudo password of a board, from the terminal or EDGE_SUDO_PASSWORD."""
    return _ask(f"sudo password on {device}", SUDO_VARIABLE)


def read_password(prompt: str) -> str:
    """A login password, from the terminal or EDGE_LOGIN_PASSWORD."""
    return _ask(prompt, LOGIN_VARIABLE)


def _ask(prompt: str, variable: str) -> str:
    given = secret(variable)
    if given:
        return given
    if not output.can_ask():
        raise OptionInvalid(option="password", reason=f"no terminal to ask at; set {variable}")
    answer: str = click.prompt(prompt, hide_input=True, err=True)
    return answer
