"""What a board reports of itself: once, or at every change until an update has ended.

The rule: a report counts with the device's own signature only, and one question is one round trip; waiting is a
script on the board that speaks at every change, so that a slow board does not start a Python twice a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.contract.board import BoardConfig, RunningAgent
from agent.contract.codec import decode
from agent.contract.errors import BoardNotFlashed, ContractError, DeadlinePassed
from agent.contract.messages import Reported, Signed
from agent.contract.states import END_STATES
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.fleet.session import Limits
from edge.identity import open_report
from edge.inventory import Device


@dataclass(frozen=True, kw_only=True)
class BoardStatus:
    """What lies in a board's folder now.

    Attributes:
        installed: the launcher is there.
        config: what enrolment wrote, or None.
        root: SHA-256 of the root metadata that it was enrolled with, or None.
        signed: the board's report in its envelope, or None. Nothing in it is verified yet.
        agent: what the serving agent says of itself, or None where that can't be read. agent_alive: its process runs.
        supervised: edge's own supervisor runs, on a board that is kept running by it.
        request_waits: a push has not been looked at yet.
        clock: the board's, seconds since 1970.
    """

    installed: bool
    config: BoardConfig | None
    root: str | None
    signed: Signed | None
    agent: RunningAgent | None
    agent_alive: bool
    supervised: bool
    request_waits: bool
    clock: float

    def report(self, device: Device) -> Reported:
        """The report, when it is this device's own word and not older than what was seen.

        Raises:
            BoardNotFlashed: it has none, or the device is not enrolled.
            ReportForged, ReportReplayed: it is not believed.
        """
        if self.signed is None or device.public_key is None:
            raise BoardNotFlashed(device=device.name)
        return open_report(
            self.signed,
            device=device.device_id,
            public_key=device.public_key,
            counter_seen=device.counter_seen,
        )


def read_status(board: Board, root: str) -> BoardStatus:
    """What the board folder `root` says, in one round trip.

    Raises:
        DocumentInvalid: a file there is damaged.
    """
    return _status(board.python(script("status"), {"root": root}, doing="reading its report"))


def wait_for_end(
    board: Board,
    root: str,
    device: Device,
    *,
    request: str,
    deadline_s: float,
    on_change: Callable[[Reported, BoardStatus], None] | None = None,
    on_beat: Callable[[], None] = lambda: None,
) -> Reported:
    """Wait until the board has looked at a push and nothing is left to do.

    Args:
        board: the connection; when it is lost, the board goes on alone, and this may be called again.
        root: edge's folder on the board.
        device: whose signature counts.
        request: the text that the push ended with.
        deadline_s: when to stop waiting.
        on_change: gets the report whenever it changed, the last one included.
        on_beat: is called with each sign of life, every few seconds at least; what it raises ends the waiting.

    Raises:
        DeadlinePassed: no end by then; the board may still come to one.
        ReportForged, ReportReplayed: a report is not believed.
        ConnectionLost: on the way.
    """
    last: list[Reported] = []
    ended = False

    def heard(record: Any) -> None:
        nonlocal ended
        on_beat()
        if not record or record["reported"] is None:
            return
        status = _status(record)
        reported = status.report(device)
        ended = bool(record["ended"])
        if not last or last[-1] != reported:
            last.append(reported)
            if on_change is not None:
                on_change(reported, status)

    asked = {
        "root": root,
        "request": request,
        "seconds": deadline_s,
        "ends": sorted(state.value for state in END_STATES),
    }
    board.python(
        script("status"),
        asked,
        doing="carrying out the update",
        limits=Limits(whole_s=deadline_s + 10.0, stall_s=max(60.0, board.timeouts.stall_s)),
        on_record=heard,
    )
    if not ended:
        raise DeadlinePassed(host=board.name, doing="the update", timeout_s=f"{deadline_s:g}")
    return last[-1]


def _status(record: Any) -> BoardStatus:
    return BoardStatus(
        installed=bool(record["there"]),
        config=_document(BoardConfig, record["config"]),
        root=record["root"],
        signed=_document(Signed, record["reported"]),
        agent=_agent(record["agent"]),
        agent_alive=bool(record["alive"]),
        supervised=bool(record["supervised"]),
        request_waits=bool(record["waiting"]),
        clock=float(record["clock"]),
    )


def _agent(text: str | None) -> RunningAgent | None:
    """What the agent's own user wrote; nonsense there must not keep anybody from flashing the board anew."""
    with contextlib.suppress(ContractError):
        agent: RunningAgent | None = _document(RunningAgent, text)
        return agent
    return None


def _document(kind: type[Any], text: str | None) -> Any:
    return None if text is None else decode(kind, text.encode())
