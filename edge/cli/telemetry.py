"""`edge telemetry`: what boards reported, as it is stored.

The rule: these commands only read, whether the collector is at work or not; what they show is what is in the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.contract.codec import to_plain
from edge.cli import output, telemetry_tables
from edge.cli.duration import duration

if TYPE_CHECKING:
    from edge.telemetry.records import StoredEvent, StoredSample
    from edge.telemetry.store import Store

LOOK_S = 0.5
"""How often `tail` looks for news."""


@dataclass(frozen=True)
class Asked:
    """A store that is open, and what of it was asked for. `names`: of boards, by id. `device`: an id, or None."""

    store: Store
    names: Mapping[str, str]
    device: str | None


device_option = click.option("--device", "device_name", metavar="NAME", help="Of this board alone.")


@click.group()
def telemetry() -> None:
    """What boards reported, as it is stored: query, tail, export."""


@telemetry.command()
@device_option
@click.option("--model", metavar="NAME", help="Of this model alone.")
@click.option(
    "--since",
    "since_s",
    type=duration,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How far back.",
)
@click.option(
    "--last", type=click.IntRange(1), metavar="N", help="The newest N samples (or events) one by one."
)
@click.option("--events", "want_events", is_flag=True, help="Events instead of numbers.")
@click.option("--streams", "want_streams", is_flag=True, help="What is stored, what is missing, and why.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def query(
    device_name: str | None,
    model: str | None,
    since_s: float,
    last: int | None,
    want_events: bool,
    want_streams: bool,
    as_json: bool,
) -> None:
    """Show what boards and models did, counted by the boards themselves.

    Without --last, --events and --streams: a line a board and model, over the time before its newest sample.
    """
    if want_events and want_streams:
        raise click.UsageError("give one of --events and --streams")
    now = time.time()
    with _opened(device_name) as asked:
        if want_streams:
            _show_streams(asked, as_json=as_json)
        elif want_events:
            _show_events(asked, None if last else now - since_s, last, as_json=as_json)
        elif last is not None:
            _show_samples(asked, last, model, as_json=as_json)
        else:
            _show_boards(asked, since_s, now, model, as_json=as_json)


@telemetry.command()
@device_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def tail(device_name: str | None, as_json: bool) -> None:
    """Follow what comes in, until it is interrupted."""
    with _opened(device_name) as asked:
        try:
            for item in _news(asked):
                name = asked.names.get(item.device, item.device)
                if as_json:
                    click.echo(json.dumps({"name": name, **to_plain(item)}, ensure_ascii=False))
                else:
                    click.echo(output.visible(telemetry_tables.line_of(item, name)))
        except KeyboardInterrupt:
            return


@telemetry.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@device_option
@click.option("--since", "since_s", type=duration, metavar="TIME", help="How far back; all without it.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def export(file: Path, device_name: str | None, since_s: float | None, as_json: bool) -> None:
    """Write samples to FILE.parquet, FILE.csv or FILE.jsonl: a row a sample and model."""
    from edge.telemetry import query
    from edge.telemetry.export import export

    with _opened(device_name) as asked:
        since = None if since_s is None else time.time() - since_s
        rows = export(query.samples(asked.store, device=asked.device, since=since), file, names=asked.names)
    if as_json:
        output.data({"file": str(file), "rows": rows, "size_bytes": file.stat().st_size})
    output.line("good", f"{rows} rows in {file}", aside=output.size(file.stat().st_size))


@contextlib.contextmanager
def _opened(device_name: str | None) -> Iterator[Asked]:
    """The fleet's store, for reading."""
    from edge.config import FleetFolder
    from edge.inventory import Inventory
    from edge.telemetry.store import Store

    fleet = FleetFolder.find()
    inventory = Inventory(fleet)
    device = inventory.get(device_name).device_id if device_name else None
    names = {device.device_id: device.name for device in inventory.list()}
    with Store.open(fleet.store) as store:
        yield Asked(store, names, device)


def _show_boards(asked: Asked, since_s: float, now: float, model: str | None, *, as_json: bool) -> None:
    from edge.telemetry import query

    devices = None if asked.device is None else [asked.device]
    boards = [
        dataclasses.replace(board, rates=tuple(rate for rate in board.rates if model in (None, rate.model)))
        for board in query.fleet_now(asked.store, span_s=since_s, now=now, devices=devices)
    ]
    if as_json:
        output.data([{"name": asked.names.get(board.device), **to_plain(board)} for board in boards])
    elif boards:
        telemetry_tables.boards(boards, asked.names)
    else:
        output.line("note", "no board has reported yet")


def _show_samples(asked: Asked, last: int, model: str | None, *, as_json: bool) -> None:
    from edge.telemetry import query

    found = list(query.samples(asked.store, device=asked.device, limit=last))
    if as_json:
        output.data(found)
    else:
        telemetry_tables.samples(found, asked.names, model)


def _show_events(asked: Asked, since: float | None, last: int | None, *, as_json: bool) -> None:
    from edge.telemetry import query

    found = list(query.events(asked.store, device=asked.device, since=since, limit=last))
    if as_json:
        output.data(found)
    elif found:
        telemetry_tables.events(found, asked.names)
    else:
        output.line("note", "no event in that time")


def _show_streams(asked: Asked, *, as_json: bool) -> None:
    from edge.telemetry import query

    streams = query.streams(asked.store, device=asked.device)
    missing = query.missing(asked.store, device=asked.device)
    refused = [r for r in query.refused(asked.store) if asked.device in (None, r.device)]
    if as_json:
        output.data({"streams": streams, "missing": missing, "refused": refused})
        return
    telemetry_tables.streams(streams, asked.names)
    for one in missing:
        output.line("bad", telemetry_tables.missing(one, asked.names))
    if streams and not missing:
        output.line("good", "nothing is missing")
    for messages in refused:
        output.line("doubt", telemetry_tables.refused(messages, asked.names))


def _news(asked: Asked) -> Iterator[StoredSample | StoredEvent]:
    """Samples and events from now on, as they are committed."""
    from edge.telemetry import query

    sample, event = query.position(asked.store), query.event_position(asked.store)
    while True:
        for found in query.samples(asked.store, device=asked.device, after=sample):
            sample = found.position
            yield found
        for told in query.events(asked.store, device=asked.device, after=event):
            event = told.position
            yield told
        time.sleep(LOOK_S)
