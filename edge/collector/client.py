"""The collector, from a command's side: start it when it is absent, ask it, end it.

The rule: any command may find it there, gone, killed, starting or ending, and gets a collector that answers or the
reason why there is none. It belongs to the folder, not to the command that started it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from agent.contract.codec import from_plain
from agent.contract.errors import (
    CollectorAbsent,
    CollectorBusy,
    CollectorFailed,
    CollectorHung,
    DocumentInvalid,
)
from edge.collector import records
from edge.collector.control import ask
from edge.collector.records import CollectorStatus, Running
from edge.config import FleetFolder, lock

START_S = 30.0
END_S = 30.0
ENDING_S = 5.0
POLL_S = 0.02
BUSY_S = 0.2


def running(fleet: FleetFolder) -> Running | None:
    """The collector that answers, or None; that of the folder which this one is a copy of is none."""
    found = records.read_running(fleet)
    answer = ask(found.control, {"do": "ping"}) if found is not None else None
    return found if answer is not None and answer.get("folder") == str(fleet.path) else None


def ensure(fleet: FleetFolder) -> Running:
    """The folder's collector, started where there is none.

    Raises:
        CollectorFailed: it does not start.
        CollectorHung: there is one, and it does not answer.
    """
    deadline = time.monotonic() + START_S
    child: subprocess.Popen[bytes] | None = None
    while True:
        if (found := running(fleet)) is not None:
            return found
        if child is None:
            child = _start(fleet)
        elif child.poll() == records.BUSY_STATUS:
            if time.monotonic() > deadline:
                raise _unanswered(fleet)
            child = None  # another one starts, or is just ending
            time.sleep(BUSY_S)
        elif child.poll() is not None or time.monotonic() > deadline:
            raise _failed(fleet)
        time.sleep(POLL_S)


def status(fleet: FleetFolder) -> CollectorStatus:
    """How the collector is doing.

    Raises:
        CollectorAbsent: there is none.
        CollectorHung: it does not answer.
        DocumentInvalid: it is of another version of edge.
    """
    return from_plain(CollectorStatus, _answer(fleet, {"do": "status"}))


def stop(fleet: FleetFolder) -> bool:
    """End the collector and wait for its end; False where there was none.

    Raises:
        CollectorHung: it does not answer.
        CollectorBusy: it did not end in time.
    """
    try:
        pid = int(_answer(fleet, {"do": "stop"})["pid"])
    except CollectorAbsent:
        return False
    deadline = time.monotonic() + END_S
    while _lives(pid):
        if time.monotonic() > deadline:
            raise CollectorBusy(path=fleet.path, pid=pid)
        time.sleep(POLL_S)
    return True


def changed(fleet: FleetFolder, device: str) -> None:
    """A board was enrolled or removed: the collector looks at it now, and not some seconds later.

    Raises:
        CollectorAbsent: there is none.
        CollectorHung: it does not answer.
    """
    _answer(fleet, {"do": "changed", "device": device})


def _answer(fleet: FleetFolder, request: Mapping[str, Any]) -> dict[str, Any]:
    found = running(fleet)
    answer = ask(found.control, request) if found is not None else None
    if answer is None:
        raise _unanswered(fleet)
    if "error" in answer:
        raise DocumentInvalid(document="the collector's answer", reason=str(answer["error"]))
    return answer


def _start(fleet: FleetFolder) -> subprocess.Popen[bytes]:
    """The process, away from this terminal; what Python itself says about a failed start goes to the log too."""
    log = records.make_folder(fleet) / records.LOG
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "edge.collector.process", str(fleet.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def _unanswered(fleet: FleetFolder) -> CollectorAbsent | CollectorHung:
    """Nobody answers: there is none, or one that is stopped or stuck and still holds the lock."""
    found = records.read_running(fleet)
    if found is not None and _lives(found.pid):
        hung = CollectorHung(path=fleet.path, pid=found.pid)
        try:
            with lock(fleet.telemetry, wait_s=ENDING_S, file=records.LOCK, busy=hung):
                pass  # it was just ending
        except CollectorHung:
            return hung
    return CollectorAbsent(path=fleet.path)


def _failed(fleet: FleetFolder) -> CollectorFailed:
    log = fleet.telemetry / records.LOG
    lines = log.read_text(errors="replace").strip().splitlines()
    return CollectorFailed(path=fleet.path, reason=lines[-1] if lines else "it said nothing", log=log)


def _lives(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # another command started it
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
