"""A bundle's artifact on a board, in the runtime that the board has: its answers, and what they took.

The rule: one call of one script on the board, which removes what it brought however it ends. It stays attended, so
that it ends with this process and with the connection. What serves there goes first.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any

from agent.contract.codec import decode
from agent.contract.errors import (
    BoardNotFlashed,
    ConnectionLost,
    ContractError,
    InferenceFailed,
    MeasurementRefused,
    MeasurementTooLarge,
    RemoteCommandFailed,
)
from agent.contract.load import LoadReport
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.fleet.remote_error import agents_words, error_of
from edge.fleet.session import Limits
from edge.progress import Progress

LONGEST_S = 1800.0
"""For one run of the agent on the board."""
WINDOW_S, WARM_UP_S = 2.0, 0.5
"""The timed run, and the same before it that is not counted."""
CHUNK_BYTES = 256 * 1024
CUT_STATUS = 3
DOING = "measuring"


@dataclass(frozen=True, kw_only=True)
class BoardRuntime:
    """The runtime that a board has.

    Attributes:
        engine, version: like `litert` and `2.3.0`.
        architecture, python: what it is made for.
    """

    engine: str
    version: str
    architecture: str
    python: str

    @property
    def platform(self) -> str:
        """Like `aarch64, Python 3.11`."""
        return f"{self.architecture}, Python {self.python}"


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """What a run showed.

    Attributes:
        runtime: that ran it.
        outputs: for each part of the inputs, the bytes of an `.npz` with `output_k`.
        memory_mb: what loading and running the model added to the process, in 10**6 bytes.
        timed: the engine alone, sample after sample.
    """

    runtime: BoardRuntime
    outputs: tuple[bytes, ...]
    memory_mb: float
    timed: LoadReport

    def quantile_ms(self, part: float) -> float:
        """The least latency with at least `part` (0 to 1) of all at or below it, in milliseconds."""
        found = self.timed.latencies.quantile_ms(part)
        assert found is not None, "a window without an inference is refused"
        return found


def look(board: Board, root: str) -> BoardRuntime:
    """The runtime of a board that could measure now. Nothing is changed there, but what killed runs left goes.

    Raises:
        BoardNotFlashed: it has none.
        MeasurementRefused: an update is at work there.
        DeadlinePassed, ConnectionLost, RemoteCommandFailed, PlatformUnsupported: the question failed.
    """
    found: list[Any] = []
    board.python(script("measure"), {"root": root}, doing="asking for its runtime", on_record=found.append)
    runtime, told = _runtime(board, found), found[0]["board"]
    if told["updated"]:
        _refuse(board, "trial")
    return runtime


def run_bundle(
    board: Board,
    root: str,
    bundle: Path,
    parts: Sequence[Path],
    *,
    memory_bytes: int,
    progress: Progress,
    window_s: float = WINDOW_S,
) -> BoardRun:
    """Run a bundle's artifact on a board.

    Args:
        board: the connection.
        root: edge's folder there.
        bundle: folder of the bundle.
        parts: `.npz` files of the inputs, run one after the other, so that one of them lies there at a time.
        memory_bytes: what it will take at most; asked for before anything is sent.
        progress: is told of what is sent.
        window_s: of the timed run.

    Raises:
        MeasurementRefused: the board has other things to do.
        MeasurementTooLarge: it has too little memory, or room for files.
        InferenceFailed: the engine died; the sentence names engine, version and signal.
        EdgeError: the agent's own, as it said it.
        KeyboardInterrupt: by Ctrl-C, after the board has cleared away.
        DeadlinePassed, ConnectionLost, RemoteCommandFailed: on the way. What is there ends and goes all the same.
    """
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
    sizes = [path.stat().st_size for path in parts]
    sent = sum(path.stat().st_size for path in files)
    disk_bytes = sent + 4 * max(sizes)
    stall_s = board.timeouts.stall_s
    request = {
        "root": root,
        "files": [[path.relative_to(bundle).as_posix(), path.stat().st_size] for path in files],
        "parts": sizes,
        "memory_bytes": memory_bytes,
        "disk_bytes": disk_bytes,
        "seconds": window_s,
        "warm_up_s": WARM_UP_S,
        "longest_s": LONGEST_S,
        "silence_s": 4 * stall_s + 1,
    }
    records = _Records(len(parts))
    try:
        board.python(
            script("measure"),
            request,
            doing=DOING,
            payload=_content(f"{bundle.name} to {board.name}", [*files, *parts], progress),
            limits=Limits(stall_s=stall_s, whole_s=LONGEST_S * (len(parts) + 1) + 4 * stall_s),
            on_record=records.take,
            attended=True,
        )
    except RemoteCommandFailed as error:
        if error.facts["status"] == CUT_STATUS:
            raise ConnectionLost(host=board.name, doing=DOING) from error
        raise
    runtime = _runtime(board, records.all)
    if records.refused is not None:
        told = records.all[0]["board"]
        room = {
            "disk": (f"space in `{told['folder']}`", disk_bytes, told["disk"]),
            "memory": ("memory", memory_bytes, records.refused["available"]),
        }
        if (why := records.refused["refused"]) in room:
            what, needed, free = room[why]
            raise MeasurementTooLarge(
                device=board.name, what=what, needed_mb=needed / 1e6, free_mb=(free or 0) / 1e6
            )
        _refuse(board, why)
    measured = [_said(board, runtime, bundle, ended) for ended in records.ended]
    try:
        *parts_told, timed = measured
        report = decode(LoadReport, timed.encode())
        if not report.latencies.count:
            raise ValueError("it timed nothing")
        return BoardRun(
            runtime=runtime,
            outputs=tuple(zlib.decompress(packed) for packed in records.outputs),
            memory_mb=max(float(json.loads(told)["memory_mb"]) for told in parts_told),
            timed=report,
        )
    except (ValueError, KeyError, TypeError, zlib.error, ContractError) as error:
        raise RemoteCommandFailed(host=board.name, doing=DOING, status=0, output=str(error)) from error


class _Records:
    """What the script says, in order."""

    def __init__(self, parts: int) -> None:
        self.all: list[Any] = []
        self.ended: list[Any] = []
        self.refused: Any = None
        self.outputs = [bytearray() for _ in range(parts)]

    def take(self, record: Any) -> None:
        if "data" in record:
            self.outputs[record["part"]].extend(base64.b64decode(record["data"]))
        elif "refused" in record:
            self.refused = record
        elif "did" in record:
            self.ended.append(record)
        else:
            self.all.append(record)


def _runtime(board: Board, records: Sequence[Any]) -> BoardRuntime:
    found = records[0]["board"]
    if not found["there"] or not found["engine"]:
        raise BoardNotFlashed(device=board.name)
    return BoardRuntime(
        engine=found["engine"],
        version=found["version"],
        architecture=found["platform"]["architecture"],
        python=found["platform"]["python"],
    )


def _refuse(board: Board, why: str) -> None:
    reasons = {
        "trial": ("an update is at work or on trial there", "wait until it is confirmed: `edge device show`"),
        "busy": ("another measurement runs there", "wait until it is done"),
    }
    reason, way_out = reasons[why]
    raise MeasurementRefused(device=board.name, reason=reason, way_out=way_out)


def _said(board: Board, runtime: BoardRuntime, bundle: Path, ended: Any) -> str:
    """The last line that a command of the agent printed, where it ended well."""
    status, lines = ended["status"], ended["stdout"].strip().splitlines()
    if status == 0 and lines:
        return str(lines[-1])
    told = error_of(ended["stdout"])
    if told is not None:
        raise told
    if status < 0:
        why = f"{Signals(-status).name} ended {runtime.engine} {runtime.version} on {board.name}"
        if status == -SIGKILL:
            why += f": its memory ran out, or it took longer than {LONGEST_S:g} s"
        raise InferenceFailed(model=bundle.name, reason=why)
    words = agents_words(ended["stderr"], status)
    raise RemoteCommandFailed(host=board.name, doing=DOING, status=status, output=words)


def _content(what: str, files: Sequence[Path], progress: Progress) -> Iterator[bytes]:
    total, sent = sum(path.stat().st_size for path in files), 0
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                progress.transfer(what, sent, total)
