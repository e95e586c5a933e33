"""`edge infer`: one input to a board's model."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("target")
@click.argument("path", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--model", help="Which model, where the board serves several.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def infer(target: str, path: Path, model: str | None, as_json: bool) -> None:
    """Send INPUT (a PNG or JPEG, or one sample as .npy) to the model on TARGET and print its answer."""
    from edge.rollouts.inference import infer as run
    from edge.rollouts.workspace import Workspace

    found = run(Workspace.find(asker()), target, path, model=model)
    if as_json:
        output.data(vars(found))
        return
    for answer in found.answers:
        click.echo(output.visible(f"{answer.label}  {answer.score:.4f}"))
    if not found.answers:
        for name, values in found.outputs.items():
            click.echo(output.visible(f"{name}  {values}"))
    output.line("note", f"{found.release} on {target}, {found.seconds * 1e3:.0f} ms through SSH")
