"""`edge sim`: simulated boards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.contract.errors import OptionInvalid
from edge.cli import output

if TYPE_CHECKING:
    from edge.sim.boards import SimBoard

REQUESTS_PER_S = 20.0


@click.group()
def sim() -> None:
    """Simulated boards: real SSH servers on this machine, on which the real flash installs the real agent.

    Their speed and memory are this machine's and say nothing of any board.
    """


@sim.command()
@click.argument("count", type=click.IntRange(1, 200))
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["tflite", "onnx"]),
    help="What new boards run; repeatable, given in turn. Default: both.",
)
@click.option(
    "--traffic/--no-traffic",
    default=None,
    help="Clients on each board that ask its agent steadily, or none. Default: as it is.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1000),
    metavar="N",
    help=f"With traffic of so many requests a second on each board. Default: {REQUESTS_PER_S:g}.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def up(count: int, kinds: tuple[str, ...], traffic: bool | None, rate: float | None, as_json: bool) -> None:
    """Have boards sim-1 to sim-COUNT; those that are there stay as they are."""
    from edge.config import FleetFolder
    from edge.sim.boards import up as run
    from edge.sim.plan import KINDS

    if traffic is False and rate is not None:
        raise OptionInvalid(option="--no-traffic", reason="no traffic has no --rate")
    if traffic and rate is None:
        rate = REQUESTS_PER_S
    boards = run(
        FleetFolder.find(),
        count,
        kinds=kinds or KINDS,
        requests_per_s=0.0 if traffic is False else rate,
    )
    if as_json:
        output.data([_plain(board) for board in boards])
        return
    output.table(
        ("board", "runs", "address", "host key"),
        [(b.name, f"simulated, {b.kind}", b.address, b.fingerprint) for b in boards],
    )
    output.line("note", "simulated boards on this machine; they stay up until `edge sim down`")
    output.line("note", "take one into the fleet with `edge device add ADDRESS --name NAME`")


@sim.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """List the simulated boards of this fleet folder."""
    from edge.config import FleetFolder
    from edge.sim.boards import boards

    found = boards(FleetFolder.find())
    if as_json:
        output.data([_plain(board) for board in found])
        return
    output.table(
        ("board", "runs", "address", "up", "traffic"),
        [(b.name, b.kind, b.address, "yes" if b.running else "no", _traffic(b)) for b in found],
    )


@sim.command()
@click.option("--wipe", is_flag=True, help="Their folders too; they are no more.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def down(wipe: bool, as_json: bool) -> None:
    """Stop all simulated boards and what runs on them."""
    from edge.config import FleetFolder
    from edge.sim.boards import boards
    from edge.sim.boards import down as run

    folder = FleetFolder.find()
    run(folder, wipe=wipe)
    if as_json:
        output.data([_plain(board) for board in boards(folder)])
    output.line("good", "no simulated board is up")


@sim.command("break")
@click.argument("name")
@click.argument("fault")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def break_(name: str, fault: str, as_json: bool) -> None:
    """Do FAULT to a board: cut, slow, disk-full, kill-agent, reboot, power-cut, … (a wrong word lists them)."""
    from edge.config import FleetFolder
    from edge.sim.boards import break_board

    break_board(FleetFolder.find(), name, fault)
    if as_json:
        output.data({"name": name, "fault": fault})
    output.line("good", f"{name}: {fault}")


def _traffic(board: SimBoard) -> str:
    if not board.requests_per_s:
        return "none"
    return f"{board.requests_per_s:g}/s, {board.sent} sent, {board.failed} failed"


def _plain(board: SimBoard) -> dict[str, object]:
    return {
        "name": board.name,
        "kind": board.kind,
        "address": board.address,
        "fingerprint": board.fingerprint,
        "running": board.running,
        "folder": str(board.folder),
        "requests_per_s": board.requests_per_s,
        "sent": board.sent,
        "failed": board.failed,
        "simulated": True,
    }
