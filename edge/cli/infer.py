"""`edge infer`: one picture or sample to a board's model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("target")
@click.argument("path", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--model", help="Which model, where the board serves several.")
@click.option(
    "--over",
    type=click.Choice(["ssh", "mqtt"]),
    default="ssh",
    show_default=True,
    help="The way there: SSH, or the fleet's MQTT broker.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def infer(target: str, path: Path, model: str | None, over: str, as_json: bool) -> None:
    """Send INPUT (a PNG or JPEG, or one sample as .npy) to the model on TARGET and print its answer."""
    from edge.rollouts import inference
    from edge.rollouts.workspace import Workspace

    run = inference.infer_over_mqtt if over == "mqtt" else inference.infer
    found = run(Workspace.find(asker()), target, path, model=model)
    document = found.document
    if as_json:
        output.data({**document, "seconds": found.seconds})
        return
    for answer in document["answers"]:
        click.echo(output.visible(_line(answer)))
    if not document["answers"]:
        output.line("note", "nothing was found")
    output.line(
        "note", f"{document['release']} on {target}, {found.seconds * 1e3:.0f} ms through {over.upper()}"
    )


def _line(answer: Mapping[str, Any]) -> str:
    """One answer, by what it holds; see `agent.transforms.answers`."""
    if "box" in answer:
        box = "  ".join(f"{side:.1f}" for side in answer["box"])
        return f"{answer['label']}  {answer['score']:.4f}  {box}"
    if "verdict" in answer:
        return f"{answer['verdict']}  {answer['score']:.4f}  (threshold {answer['threshold']:g})"
    if "label" in answer:
        return f"{answer['label']}  {answer['score'] if 'score' in answer else answer['area']:.4f}"
    if "vector" in answer:
        return f"{answer['vector']}"
    return f"{answer['name']}  {answer['values']}"
