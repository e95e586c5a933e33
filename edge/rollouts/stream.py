"""Having a board look at a folder or a camera by itself, and ending that.

The rule: it counts as begun, or ended, when the board's agent says so itself.
"""

from __future__ import annotations

import time

from agent.contract.errors import BoardNotFlashed, StreamAbsent, StreamUnanswered
from agent.contract.stream import StreamConfig, StreamState
from edge.fleet.connection import Board, connect
from edge.fleet.status import read_status
from edge.fleet.stream import StreamFound, read_stream, write_stream
from edge.inventory import Device
from edge.rollouts.workspace import Workspace

ANSWER_S = 15.0
"""The agent looks every five seconds whether there is a stream to begin."""
ASK_S = 0.5


def start_stream(workspace: Workspace, device_name: str, config: StreamConfig) -> StreamState | None:
    """Have a board's agent carry out `config`, in place of the stream that it had.

    Returns:
        What the agent says of it; None where it does not run, and will begin when it does.

    Raises:
        BoardNotFlashed, LinkNotReady: there is no agent, or no place for it.
        StreamUnanswered: the agent does not say. TransferError: on the way.
    """
    return _have(workspace, device_name, config)


def stop_stream(workspace: Workspace, device_name: str) -> None:
    """End a board's stream. Raises as `start_stream`, and StreamAbsent: it has none."""
    _have(workspace, device_name, None)


def stream_of(workspace: Workspace, device_name: str) -> StreamFound:
    """A board's stream, and what its agent says of it. Raises as `stop_stream`."""
    device = _flashed(workspace, device_name)
    with connect(device, fleet=workspace.folder) as board:
        found = read_stream(board, device.root or "")
    if found.config is None:
        raise StreamAbsent(device=device_name)
    return found


def _have(workspace: Workspace, device_name: str, config: StreamConfig | None) -> StreamState | None:
    device = _flashed(workspace, device_name)
    root = device.root or ""
    with workspace.inventory.hold(device_name), connect(device, fleet=workspace.folder) as board:
        if read_stream(board, root).config is None and config is None:
            raise StreamAbsent(device=device_name)
        seen = write_stream(board, root, config)
        return _wait(board, device, seen)


def _wait(board: Board, device: Device, seen: str) -> StreamState | None:
    root = device.root or ""
    end = time.monotonic() + ANSWER_S
    while True:
        status = read_status(board, root)
        if status.agent is None or not status.agent_alive:
            return None
        found = read_stream(board, root)
        if found.state is not None and found.state.seen == seen:
            return found.state
        if not seen and found.state is None:
            return None  # it had not begun
        if time.monotonic() > end:
            wanted = "begun" if seen else "ended"
            raise StreamUnanswered(device=device.name, timeout_s=f"{ANSWER_S:g}", wanted=wanted)
        time.sleep(ASK_S)


def _flashed(workspace: Workspace, name: str) -> Device:
    device = workspace.inventory.get(name)
    if device.root is None:
        raise BoardNotFlashed(device=name)
    return device
