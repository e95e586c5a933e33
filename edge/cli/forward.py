"""`edge forward`: a board's agent on a port of this machine."""

from __future__ import annotations

import signal
import time

import click

from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("target")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port here; any free one unless given."
)
@click.option("--print-port", is_flag=True, help="Print the port alone on stdout, for scripts.")
def forward(target: str, port: int, print_port: bool) -> None:
    """Bring the agent of TARGET to a port of this machine's loopback, until interrupted."""
    from edge.rollouts.boards import agent_port
    from edge.rollouts.workspace import Workspace

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with agent_port(Workspace.find(asker()), target, local_port=port) as (open_forward, board):
        click.echo(str(open_forward.local_port) if print_port else open_forward.url)
        output.line("note", f"{target}'s agent is at {open_forward.url}; end with Ctrl-C")
        try:
            while board.transport.is_active():
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
