"""What `edge doctor` says of telemetry on this machine's side: collector, broker, the way to each board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.contract.errors import CollectorAbsent, EdgeError
from edge.cli import output

if TYPE_CHECKING:
    from edge.collector.records import BoardLink, CollectorStatus
    from edge.config import FleetFolder

Found = tuple[str, str, str, str]
"""What, `good`/`doubt`/`bad`/`note`, text, hint."""

TRIED_AGAIN = "it is tried again; the board keeps what it measured"
TRIED_RARELY = (
    "when that is mended: `edge collect stop` and `edge collect`, or it is tried again within ten minutes"
)


def broker_found() -> Found:
    """Which broker this machine has."""
    from edge.collector import mosquitto

    program = mosquitto.find()
    if program is None:
        hint = "install mosquitto for more than some hundred messages a second"
        return "broker", "note", "mosquitto is not installed; the embedded broker takes its place", hint
    return "broker", "good", str(program), ""


def collector_found(fleet: FleetFolder) -> tuple[Found, tuple[BoardLink, ...]]:
    """How the folder's collector is doing, and how it reaches the boards; none where it does not run."""
    from edge.collector import client

    try:
        status = client.status(fleet)
    except CollectorAbsent as error:
        return ("collector", "note", str(error), "the next flash starts it, or `edge collect`"), ()
    except EdgeError as error:
        hint = error.hint or "end it with `edge collect stop`, and start it again"
        return ("collector", "doubt", str(error), hint), ()
    return _collector(status), status.boards


def boards_found(boards: tuple[BoardLink, ...]) -> Iterator[tuple[str, Found]]:
    """The way to each board, by its name."""
    from edge.collector.ways import OPEN, REFUSED

    for board in boards:
        seen = f"last message {output.ago(int(board.last_seen))}" if board.last_seen else "no message yet"
        if board.tunnel in OPEN:
            yield (
                board.name,
                ("telemetry", "good" if board.last_seen else "doubt", seen, "look at `edge logs`"),
            )
        else:
            text = f"{board.tunnel}: {board.reason}" if board.reason else board.tunnel
            hint = TRIED_RARELY if board.tunnel == REFUSED else TRIED_AGAIN
            yield board.name, ("telemetry", "doubt", text, hint)


def _collector(status: CollectorStatus) -> Found:
    if status.waits_for is not None:
        return (
            "collector",
            "doubt",
            f"it waits for: {status.waits_for}",
            "its words are in telemetry/collector.log",
        )
    text = f"process {status.pid}, {status.broker_kind} at {status.broker_address}"
    if status.refused:
        refused = ", ".join(f"{count} {code}" for code, count in sorted(status.refused.items()))
        return (
            "collector",
            "doubt",
            f"{text}; refused messages: {refused}",
            "docs/errors.md says what each code means",
        )
    return "collector", "good", text, ""
