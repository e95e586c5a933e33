"""`edge stream`: a board that looks at a folder or a camera by itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edge.cli import output
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from agent.contract.stream import StreamConfig, StreamState


@click.group()
def stream() -> None:
    """Have a board look at a folder or a camera by itself, and publish what a model says over MQTT."""


@stream.command()
@click.argument("target")
@click.option("--model", required=True, help="Which of its models.")
@click.option("--folder", help="A folder on the board, as absolute path: JPEG, PNG and .npy files that come.")
@click.option("--camera", type=click.IntRange(0, 99), help="A camera's number, where the board has OpenCV.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 60, min_open=True),
    default=1.0,
    show_default=True,
    help="At most so many a second; the newest is taken.",
)
@click.option("--min-score", type=float, help="Answers with a lower score are none.")
@click.option("--on-change", is_flag=True, help="Publish only what differs from the answer before.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def start(
    target: str,
    model: str,
    folder: str | None,
    camera: int | None,
    rate: float,
    min_score: float | None,
    on_change: bool,
    as_json: bool,
) -> None:
    """Have TARGET ask its own model about each new picture, and publish answers under result/MODEL.

    Whoever asks the model comes first. Files are only read. Run it again for another stream: a board has one.
    """
    from agent.contract.errors import OptionInvalid
    from agent.contract.names import check_name
    from agent.contract.stream import StreamConfig
    from edge.rollouts.stream import start_stream
    from edge.rollouts.workspace import Workspace

    if (folder is None) == (camera is None):
        raise OptionInvalid(option="--folder", reason="say either a folder or a camera")
    if folder is not None and not folder.startswith("/"):
        raise OptionInvalid(option="--folder", reason="say the absolute path on the board")
    config = StreamConfig(
        model=check_name(model, what="model"),
        source=folder or f"camera:{camera}",
        rate=rate,
        min_score=min_score,
        on_change=on_change,
    )
    state = start_stream(Workspace.find(asker()), target, config)
    if as_json:
        output.data(_plain(target, config, state))
    if state is None:
        output.line("note", f"the agent on `{target}` does not run; it begins when it does")
    elif state.error:
        output.line("doubt", output.visible(state.error))
    else:
        output.line("good", f"`{target}` looks at {output.visible(config.source)}")


@stream.command()
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def stop(target: str, as_json: bool) -> None:
    """End TARGET's stream. What it looked at is as it was."""
    from edge.rollouts.stream import stop_stream
    from edge.rollouts.workspace import Workspace

    stop_stream(Workspace.find(asker()), target)
    if as_json:
        output.data({"device": target, "stream": None})
    output.line("good", f"`{target}` looks at nothing any more")


@stream.command()
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(target: str, as_json: bool) -> None:
    """Show what TARGET looks at, and what came of it."""
    from edge.rollouts.stream import stream_of
    from edge.rollouts.workspace import Workspace

    found = stream_of(Workspace.find(asker()), target)
    assert found.config is not None
    if as_json:
        output.data(_plain(target, found.config, found.state))
        return
    rate = f"at most {found.config.rate:g} a second"
    click.echo(output.visible(f"{found.config.source} to {found.config.model}, {rate}"))
    state = found.state
    if state is None or not state.seen:
        output.line("note", "its agent has not begun yet")
        return
    counts = (
        f"{state.asked} asked, {state.published} published, {state.failed} failed, {state.skipped} skipped"
    )
    click.echo(output.visible(f"{counts}; last {state.last or 'none'}"))
    if state.error:
        output.line("doubt", output.visible(state.error))


def _plain(target: str, config: StreamConfig, state: StreamState | None) -> dict[str, Any]:
    return {"device": target, "stream": asdict(config), "state": asdict(state) if state is not None else None}
