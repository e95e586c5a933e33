"""`edge device open`, `edge device close`: a board's agent for other machines, by TLS and tokens."""

from __future__ import annotations

import shlex

import click

from agent.contract.door import DOOR_PORT, Scope
from agent.contract.errors import OptionInvalid
from edge.cli import output
from edge.cli.passphrase import asker


@click.command("open")
@click.argument("name")
@click.option("--address", help="An address of the board's to listen on. Default: all, 0.0.0.0.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Default: {DOOR_PORT}.")
@click.option(
    "--token-name",
    default="default",
    show_default=True,
    help="Whose token it is; one of that name is replaced.",
)
@click.option(
    "--scope",
    type=click.Choice([Scope.INFER.value, Scope.CONTROL.value]),
    default=Scope.INFER.value,
    show_default=True,
    help="infer: ask its models. control: load and unload them, too.",
)
@click.option(
    "--as", "reached_as", multiple=True, help="Another host name or address that clients use for it."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def open_(
    name: str,
    address: str | None,
    port: int | None,
    token_name: str,
    scope: str,
    reached_as: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let other machines ask a board's models, by TLS and with a token, which is printed this once.

    Without this, an agent can be reached from its board alone (and by `edge infer` and `edge forward`, through SSH).
    Run it again for another token: those with other names stay valid.
    """
    from agent.contract.door import is_address
    from agent.contract.names import check_name
    from edge.rollouts.door import open_door
    from edge.rollouts.workspace import Workspace

    if address is not None and not is_address(address):
        raise OptionInvalid(option="--address", reason="must be an IP address of the board's, or 0.0.0.0")
    done = open_door(
        Workspace.find(asker()),
        name,
        address=address,
        port=port,
        token_name=check_name(token_name, what="token"),
        scope=Scope(scope),
        reached_as=reached_as,
    )
    call = shlex.join(
        [
            "curl",
            "--cacert",
            str(done.authority),
            "-H",
            f"Authorization: Bearer {done.token}",
            f"{done.url}/v2/repository/index",
            "-X",
            "POST",
        ]
    )
    if as_json:
        tokens = [{"name": each.name, "scope": each.scope.value} for each in done.config.tokens]
        output.data(
            {
                "device": name,
                "url": done.url,
                "authority": str(done.authority),
                "token_name": done.name,
                "token": done.token,
                "tokens": tokens,
            }
        )
    else:
        click.echo(done.token)
    output.line("good", f"`{name}` is open at {done.url}, token `{done.name}` ({scope})")
    output.line("note", "the token is shown this once; the board keeps its SHA-256 alone")
    output.line("note", f"what it serves: {call}")


@click.command("close")
@click.argument("name")
@click.option("--token-name", help="Take only this token's way in; the last one's shuts the door.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def close(name: str, token_name: str | None, as_json: bool) -> None:
    """Shut a board to other machines; every token ends. What it serves on the board itself goes on."""
    from edge.rollouts.door import close_door
    from edge.rollouts.workspace import Workspace

    left = close_door(Workspace.find(asker()), name, token_name=token_name)
    tokens = [each.name for each in left.tokens] if left is not None else []
    if as_json:
        output.data({"device": name, "open": left is not None, "tokens": tokens})
    if left is None:
        output.line("good", f"`{name}` can be reached from the board itself alone")
    else:
        output.line("good", f"`{token_name}` opens `{name}` no more; these do: {', '.join(tokens)}")
