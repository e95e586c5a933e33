"""Where the passphrase of the root and targets keys comes from: the environment, or a prompt on a terminal.

The rule: never from the command line, never stored, and never asked for where nobody can answer.
"""

from __future__ import annotations

from collections.abc import Callable

import click

from agent.contract.errors import PassphraseMissing
from edge.cli import output
from edge.cli.environment import secret

VARIABLE = "EDGE_KEY_PASSPHRASE"


def asker(*, new: bool = False) -> Callable[[str], str]:
    """A function from role to passphrase, asking at most once.

    Args:
        new: it is being chosen, so it is asked for twice.
    """
    known: list[str] = []

    def ask(role: str) -> str:
        if not known:
            known.append(_read(role, new=new))
        return known[0]

    return ask


def _read(role: str, *, new: bool) -> str:
    given = secret(VARIABLE)
    if given:
        return given
    if not output.can_ask():
        raise PassphraseMissing(role=role)
    text = f"Passphrase for the fleet's {'new keys' if new else f'`{role}` key'}"
    answer: str = click.prompt(text, hide_input=True, confirmation_prompt=new, err=True)
    return answer
