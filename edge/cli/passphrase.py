"""Where the passphrases of encrypted keys come from: the environment, or a prompt on a terminal.

The rule: never from the command line, never stored, and never asked for where nobody can answer.
"""

from __future__ import annotations

from collections.abc import Callable

import click

from agent.contract.errors import OptionInvalid, PassphraseMissing
from edge.cli import output
from edge.cli.environment import secret

VARIABLE = "EDGE_KEY_PASSPHRASE"
NEW_VARIABLE = "EDGE_KEY_NEW_PASSPHRASE"


def asker(*, new: bool = False) -> Callable[[str], str]:
    """A function from a key's name to its passphrase, asking at most once for each; for new keys once for all.

    At a prompt, nothing is an answer too: that this key is to be left out.

    Args:
        new: it is being chosen, so it is asked for twice, and EDGE_KEY_NEW_PASSPHRASE comes first.
    """
    given: list[str] = []
    answers: dict[str, str] = {}

    def ask(name: str) -> str:
        if not given and (text := _from_environment(new=new)):
            given.append(text)
        if given:
            return given[0]
        key = "" if new else name
        if key not in answers:
            answers[key] = _asked(name, new=new)
        return answers[key]

    return ask


def _from_environment(*, new: bool) -> str | None:
    text = (secret(NEW_VARIABLE) if new else None) or secret(VARIABLE)
    if new and text and "\n" in text:
        raise OptionInvalid(option=NEW_VARIABLE, reason="a new key has one passphrase, of one line")
    return text


def _asked(name: str, *, new: bool) -> str:
    if not output.can_ask():
        raise PassphraseMissing(role=name)
    text = "New passphrase for the fleet's keys" if new else f"Passphrase for the fleet's `{name}` key"
    answer: str = click.prompt(
        text,
        default=None if new else "",
        show_default=False,
        hide_input=True,
        confirmation_prompt=new,
        err=True,
    )
    return answer
