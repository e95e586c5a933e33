"""`edge forward`: a board's agent on a port of this machine."""

from __future__ import annotations

import time

import click

from agent.contract.errors import ConnectionLost
from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("target")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port here; any free one unless given."
)
@click.option("--print-port", is_flag=True, help="Print the port alone on stdout, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def forward(target: str, port: int, print_port: bool, as_json: bool) -> None:
    """Bring the agent of TARGET to a port of this machine's loopback, until interrupted."""
    from edge.rollouts.boards import agent_port
    from edge.rollouts.workspace import Workspace

    with agent_port(Workspace.find(asker()), target, local_port=port) as (open_forward, board):
        if as_json:
            output.data({"device": target, "port": open_forward.local_port, "url": open_forward.url})
        else:
            click.echo(str(open_forward.local_port) if print_port else open_forward.url)
        output.line("note", f"{target}'s agent is at {open_forward.url}; end with Ctrl-C")
        try:
            while board.is_connected:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
    raise ConnectionLost(host=target, doing="its port was forwarded")
