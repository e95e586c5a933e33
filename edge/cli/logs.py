"""`edge logs`: what a board's agent says."""

from __future__ import annotations

import json

import click

from edge.cli import output
from edge.cli.passphrase import asker
from edge.cli.password import ask_sudo_password, sudo_password_option


@click.command()
@click.argument("target")
@click.option(
    "--lines", type=click.IntRange(1), default=50, show_default=True, help="How many of the last lines."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Each line as a JSON string, one a line.")
@sudo_password_option
def logs(target: str, lines: int, follow: bool, as_json: bool, sudo_password: bool) -> None:
    """Show the last lines that the agent and the updater of TARGET wrote."""
    from edge.rollouts.boards import read_logs
    from edge.rollouts.workspace import Workspace

    def show(text: str) -> None:
        click.echo(json.dumps(text) if as_json else output.visible(text))

    try:
        read_logs(
            Workspace.find(asker()),
            target,
            lines=lines,
            follow=follow,
            sudo_password=ask_sudo_password(target) if sudo_password else None,
            on_line=show,
        )
    except KeyboardInterrupt:
        if not follow:
            raise
