"""`edge completion`: the shell's own completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from agent.contract.errors import OptionInvalid


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL.

    Try it with: eval "$(edge completion bash)"
    """
    from edge.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise OptionInvalid(option="SHELL", reason=f"no completion for `{shell}`")
    click.echo(kind(cli, {}, "edge", "_EDGE_COMPLETE").source())
