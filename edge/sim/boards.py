"""`edge sim`: make simulated boards, show them, break them, take them away.

The rule: any command may find the server there, gone, or killed, and does what it was asked all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.contract.errors import DeviceUnknown, OptionInvalid
from edge import config, durable
from edge.config import FleetFolder
from edge.sim import disk, processes
from edge.sim.plan import KINDS, Plan, make, plans
from edge.suggestion import did_you_mean

FAULTS = ("cut", "unplug", "slow", "disk-full", "kill-agent", "reboot", "power-cut", "mend")
"""`cut` resets open connections, `unplug` refuses new ones too, `slow` lets 50 kB/s through, `power-cut` stays off;
`mend` undoes all that lasts."""
START_S = 30.0
ANSWER_S = 60.0


@dataclass(frozen=True, kw_only=True)
class SimBoard:
    """A simulated board as commands show it.

    Attributes:
        name, kind: `sim-1`, `tflite` or `onnx`.
        host, port, user: where and as whom it is reached.
        host_key, fingerprint: what must be shown there.
        running: it is shown now.
        password: that opens it too, or None.
        folder: of everything that it has.
        requests_per_s: what its clients ask of its agent; 0 for no clients.
        sent, failed: their requests, and those without a good answer, since the boards are up.
    """

    name: str
    kind: str
    host: str
    port: int
    user: str
    host_key: str
    fingerprint: str
    running: bool
    password: str | None
    folder: Path
    requests_per_s: float
    sent: int
    failed: int

    @property
    def address(self) -> str:
        """`me@127.0.0.1:20001`, as `edge device add` takes it."""
        return f"{self.user}@{self.host}:{self.port}"


def up(
    fleet: FleetFolder,
    count: int,
    *,
    kinds: Sequence[str] = KINDS,
    password: str | None = None,
    requests_per_s: float | None = None,
) -> tuple[SimBoard, ...]:
    """Have boards `sim-1` to `sim-<count>`, and show all that there are.

    Args:
        fleet: the fleet folder.
        count: how many there shall be at least; those that are there stay as they are.
        kinds: given to new boards in turn.
        password: new boards are opened by it, and by no key until one is installed.
        requests_per_s: what clients on each of these boards ask of its agent from now on, 0 to 1000; None leaves that
            as it is.

    Raises:
        OptionInvalid: `count`, a kind or a rate is none, or the server did not come up.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise OptionInvalid(option=f"--kind {kind}", reason=f"kinds are {', '.join(KINDS)}")
    if not 1 <= count <= 200 or not kinds:
        raise OptionInvalid(option="COUNT", reason=f"{count} is not 1 to 200")
    if requests_per_s is not None and not 0 <= requests_per_s <= 1000:
        raise OptionInvalid(option="--rate", reason=f"{requests_per_s} is not 0 to 1000")
    durable.make_folder(fleet.sims, mode=0o700)
    with config.lock(fleet.sims, wait_s=START_S):
        there = {plan.name: plan for plan in plans(fleet)}
        for number in range(1, count + 1):
            name = f"sim-{number}"
            plan = there.get(name) or make(
                fleet, name, kind=kinds[(number - 1) % len(kinds)], password=password
            )
            if requests_per_s is not None:
                replace(plan, requests_per_s=requests_per_s).save()
        if _ask(fleet, {"do": "show"}) is None:
            _start(fleet)
    return boards(fleet)


def boards(fleet: FleetFolder) -> tuple[SimBoard, ...]:
    """All simulated boards of the fleet folder."""
    shown = _ask(fleet, {"do": "list"}) or {"boards": [], "traffic": {}}
    return tuple(
        _shown(plan, plan.name in shown["boards"], shown["traffic"].get(plan.name, {}))
        for plan in plans(fleet)
    )


def down(fleet: FleetFolder, *, wipe: bool = False) -> None:
    """Show no board any more and end what runs on them; with `wipe` they are no more."""
    if not fleet.sims.is_dir():
        return
    with config.lock(fleet.sims, wait_s=START_S):
        pid = _pid(fleet)
        if _ask(fleet, {"do": "down"}) is not None and pid is not None:
            _wait_for_end(pid)
        for plan in plans(fleet):  # what a killed server left
            processes.kill_all(plan)
            disk.free(plan)
        (fleet.sims / "server.json").unlink(missing_ok=True)
    if wipe:
        shutil.rmtree(fleet.sims)


def break_board(fleet: FleetFolder, name: str, fault: str) -> None:
    """Do one of `FAULTS` to a board.

    Raises:
        DeviceUnknown: there is no such simulated board.
        OptionInvalid: no such fault, one that this machine can't make, or the boards are not up.
    """
    names = [plan.name for plan in plans(fleet)]
    if name not in names:
        raise DeviceUnknown(device=name, suggestion=did_you_mean(name, names))
    if fault not in FAULTS:
        raise OptionInvalid(
            option=fault, reason=f"faults are {', '.join(FAULTS)}{did_you_mean(fault, FAULTS)}"
        )
    if fault == "disk-full" and (why := disk.possible()) is not None:
        raise OptionInvalid(option=fault, reason=why)
    answer = _ask(fleet, {"do": "break", "name": name, "fault": fault})
    if answer is None:
        raise OptionInvalid(option=name, reason="it is not up; start it with `edge sim up`")
    if "error" in answer:
        raise OptionInvalid(option=fault, reason=str(answer["error"]))


def _shown(plan: Plan, running: bool, count: Mapping[str, int]) -> SimBoard:
    key = plan.host_key
    return SimBoard(
        name=plan.name,
        kind=plan.kind,
        host="127.0.0.1",
        port=plan.port,
        user=plan.user,
        host_key=key.text,
        fingerprint=key.fingerprint,
        running=running,
        password=plan.password,
        folder=plan.folder,
        requests_per_s=plan.requests_per_s,
        sent=count.get("sent", 0),
        failed=count.get("failed", 0),
    )


def _record(fleet: FleetFolder) -> dict[str, Any]:
    try:
        plain = json.loads((fleet.sims / "server.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _pid(fleet: FleetFolder) -> int | None:
    pid = _record(fleet).get("pid")
    return pid if isinstance(pid, int) else None


def _ask(fleet: FleetFolder, request: dict[str, Any]) -> dict[str, Any] | None:
    """The server's answer, or None where no server is."""
    path = _record(fleet).get("control")
    if not isinstance(path, str):
        return None
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ANSWER_S)
        try:
            link.connect(path)
            link.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(link.makefile("rb").readline())
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None


def _start(fleet: FleetFolder) -> None:
    """Start the server and wait until its boards answer."""
    log = fleet.sims / "server.log"
    (fleet.sims / "server.json").unlink(missing_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "edge.sim.server", str(fleet.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if _ask(fleet, {"do": "list"}) is not None:
            return
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGKILL)
    server.wait()
    lines = log.read_text(errors="replace").strip().splitlines()
    raise OptionInvalid(option="sim up", reason=f"the server did not start: {lines[-1] if lines else log}")


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:  # another command started it
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
        time.sleep(0.05)
