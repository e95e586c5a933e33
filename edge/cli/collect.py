"""`edge collect`: the fleet folder's background collector."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import click

from agent.contract.errors import CollectorAbsent, CollectorHung, EdgeError, ExitCode
from edge.cli import output

if TYPE_CHECKING:
    from edge.collector.records import BoardLink, CollectorStatus
    from edge.config import FleetFolder

SILENT_S = 1.0
"""Less is nothing to speak of."""


@click.group(invoke_without_command=True)
@click.option("--foreground", is_flag=True, help="Stay here, and say what happens, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def collect(context: click.Context, foreground: bool, as_json: bool) -> None:
    """The fleet folder's background collector: start it, look at it, end it.

    It brings what boards report into telemetry/store.sqlite, through SSH tunnels that it keeps open, or from a broker
    of your own. Commands that need it start it; it runs until `edge collect stop`.
    """
    if context.invoked_subcommand is not None:
        return
    from edge.collector import client
    from edge.config import FleetFolder

    fleet = FleetFolder.find()
    if foreground:
        from edge.collector.process import collect as run
        from edge.collector.process import listen

        listen(logging.StreamHandler())
        run(fleet)
        return
    there = client.running(fleet)
    running = there or client.ensure(fleet)
    if as_json:
        output.data({"pid": running.pid, "started": there is None, "metrics": running.metrics_url})
        return
    how = "runs already" if there else "runs now"
    output.line("good", f"the collector of {fleet.config.fleet} {how}, as process {running.pid}")
    output.line("note", f"for Prometheus: {running.metrics_url}")
    output.line("note", "it goes on until `edge collect stop`; look at it with `edge collect status`")


@collect.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> int:
    """Show how the collector and the ways to the boards are doing.

    Exit code 4: none runs, or it can't take messages now.
    """
    from edge.collector import client
    from edge.config import FleetFolder

    found = client.status(FleetFolder.find())
    if as_json:
        output.data(found)
    else:
        _show(found)
    return ExitCode.DONE if found.connected else ExitCode.INCOMPLETE


@collect.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def stop(as_json: bool) -> None:
    """End the collector; boards keep what it has not acknowledged."""
    from edge.collector import client
    from edge.config import FleetFolder

    fleet = FleetFolder.find()
    was_there = client.stop(fleet)
    if as_json:
        output.data({"stopped": was_there})
    if was_there:
        output.line("good", "the collector has ended; boards keep what it has not acknowledged")
    else:
        output.line("note", str(CollectorAbsent(path=fleet.path)))


def bring_in(fleet: FleetFolder, device: str) -> tuple[str, ...]:
    """Have the collector reach a board that was flashed, started where there is none. Notes for people; what stands in
    the way of telemetry is one of them, and never ends a flash."""
    from edge.collector import client

    try:
        was_there = client.running(fleet) is not None
        running = client.ensure(fleet)
        client.changed(fleet, device)
    except (EdgeError, OSError) as error:
        return (f"its telemetry is not collected: {error}",)
    if was_there:
        return ()
    return (
        f"the collector runs in the background from now on, as process {running.pid}: `edge collect status`",
    )


def let_go(fleet: FleetFolder, device: str) -> None:
    """A board was removed: the collector, where one runs, gives up the way to it."""
    from edge.collector import client

    with contextlib.suppress(CollectorAbsent, CollectorHung):  # it looks at the inventory by itself
        client.changed(fleet, device)


def _show(found: CollectorStatus) -> None:
    broker = f"{found.broker_kind} at {found.broker_address}" if found.broker_kind else "none yet"
    refused = ", ".join(f"{count} {code}" for code, count in sorted(found.refused.items()))
    rows = [
        ("process", f"{found.pid}, since {output.ago(int(found.since))}"),
        ("collector", found.collector),
        ("broker", broker),
        (
            "taken",
            f"{found.messages} messages, {found.stored} new samples and events, {found.repeated} repeated, "
            f"{found.batches} commits",
        ),
        ("refused", refused or "none"),
        ("Prometheus", found.metrics_url),
    ]
    if found.waits_for:
        rows.insert(0, ("waits for", found.waits_for))
    output.facts(rows)
    if found.boards:
        click.echo()
        headers = ("board", "way", "last message", "silent", "backlog")
        output.table(headers, [_board_row(board) for board in found.boards], right=(3,))


def _board_row(board: BoardLink) -> tuple[str, ...]:
    way = f"{board.tunnel}: {board.reason}" if board.reason else board.tunnel
    silent = f"{board.silent_s:.0f} s" if board.silent_s >= SILENT_S else ""
    last = output.ago(int(board.last_seen)) if board.last_seen else "none yet"
    return (board.name, way, last, silent, "yes" if board.backlog else "")
