"""`edge watch`: the fleet, live."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import click

from agent.contract.errors import CollectorFailed, ExitCode
from edge.cli import output
from edge.cli.duration import duration

if TYPE_CHECKING:
    from edge.dashboard.source import Source


@click.command()
@click.option("--for", "for_s", type=duration, metavar="TIME", help="End after so long, like 5s or 2m.")
@click.option(
    "--interval",
    "interval_s",
    type=duration,
    default="1s",
    show_default=True,
    metavar="TIME",
    help="How often to look.",
)
@click.option("--lines", "as_lines", is_flag=True, help="Lines also in a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each board and look.")
def watch(for_s: float | None, interval_s: float, as_lines: bool, as_json: bool) -> int:
    """Show the boards of the fleet live, the worst first: what they serve, how quickly, and how they are.

    Without a terminal, or on a dumb one: a line for each board and look. Exit code 4: no board was heard of at all.
    """
    from edge.collector import client
    from edge.config import FleetFolder
    from edge.dashboard.source import Source

    fleet = FleetFolder.find()
    try:
        client.ensure(fleet)
    except CollectorFailed as error:  # what is stored can be shown all the same
        output.line("doubt", str(error))
        output.hint(error.hint)
    on_screen = not (as_lines or as_json) and _has_screen()
    with Source(fleet) as source:
        if on_screen:
            return _screen(source, interval_s, for_s)
        try:
            return _lines(source, interval_s, for_s, as_json=as_json)
        except KeyboardInterrupt:
            if for_s is not None:
                raise
            return ExitCode.DONE


def _has_screen() -> bool:
    able = os.environ.get("TERM") != "dumb"
    return able and output.is_terminal(sys.stdin) and output.is_terminal(sys.stdout)


def _screen(source: Source, interval_s: float, for_s: float | None) -> int:
    from edge.dashboard.app import WatchApp

    error = WatchApp(source, interval_s=interval_s, for_s=for_s).run()
    if error is not None:
        raise error
    return ExitCode.DONE


def _lines(source: Source, interval_s: float, for_s: float | None, *, as_json: bool) -> int:
    from edge.dashboard.lines import Lines, plain

    lines, trouble, heard = Lines(), None, False
    began = due = time.monotonic()
    while True:
        reading = source.read()
        told = reading.trouble or (None if reading.rows else "no board is in this fleet yet")
        if told and told != trouble:
            output.line("note", told)
        trouble = told
        heard = heard or any(row.seen_s is not None for row in reading.rows)
        for text in (
            [json.dumps(plain(row, at=reading.at), ensure_ascii=False) for row in reading.rows]
            if as_json
            else lines.of(reading)
        ):
            click.echo(text if as_json else output.visible(text))
        due = max(due + interval_s, time.monotonic())
        if for_s is not None and due > began + for_s:
            time.sleep(max(0.0, began + for_s - time.monotonic()))
            return ExitCode.DONE if heard else ExitCode.INCOMPLETE
        time.sleep(due - time.monotonic())
